import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import type { TObject } from 'typebox'
import type { Client, Contract, ContractEvent, EventType } from '../kit/contract.ts'
import type { Manifest, ModuleServices, Task } from '../kit/module.ts'
import type { SQLWrapper, Transaction } from '../kit/tables.ts'
import { Outdating } from './cache/outdating.ts'
import type { CacheStore } from './cache/store.ts'
import { codecOf } from './codec.ts'
import { type ModuleDatabase, openModuleDatabase } from './data/databases.ts'
import type { PoolStats } from './data/pool-stats.ts'
import { checkPooler } from './data/pooler.ts'
import type { Replica } from './data/replica.ts'
import type { Handle } from './events/handlers.ts'
import { type EventSurroundings, ModuleEvents } from './events/module-events.ts'
import { healthContract } from './health.ts'
import { onceIn } from './idempotency.ts'
import { signedCursors } from './identity/cursors.ts'
import type { Sessions } from './identity/sessions.ts'
import type { Procedures } from './rpc/procedures.ts'
import { Signals } from './signals.ts'
import { Sweep } from './sweep.ts'
import { traces } from './tracing/traces.ts'

/** What the host gives every module that it runs. */
export interface Surroundings extends EventSurroundings {
  readonly procedures: Procedures
  readonly sessions: Sessions
  /** Where answers of other modules are kept; undefined where none are. */
  readonly cache: CacheStore | undefined
  readonly secret: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly log: FastifyBaseLogger
  urlOf(module: string): string
  /** Its read replica, if it has one. */
  replicaUrlOf?(module: string): string | undefined
  /** The PgBouncer in front of its database, if there is one. */
  poolerUrlOf?(module: string): string | undefined
  clientOf<C extends Contract>(caller: string, contract: C): Client<C>
}

/** One module hosted by this process: its database, its services, and what runs for it in the background. */
export class RunningModule {
  readonly manifest: Manifest
  /** What is wrong with how its plugin used the services; complete once the plugin has been built. */
  readonly faults: string[] = []
  readonly services: ModuleServices
  /** What operators can have it do. */
  readonly tasks: Task[] = []
  /** Those that it publishes, and those that it handles. */
  readonly events: ModuleEvents
  readonly #database: ModuleDatabase
  readonly #poolerUrl: string | undefined
  readonly #signals: Signals
  readonly #outdated: Signals
  readonly #outdating: Outdating | undefined
  readonly #sweeps: Sweep[] = []
  readonly #procedures: Procedures
  readonly #handled = new Set<object>()
  #implemented = false
  #started = false

  constructor(manifest: Manifest, around: Surroundings) {
    const { name } = manifest.contract
    const log = around.log.child({ module: name })
    this.manifest = manifest
    this.#procedures = around.procedures
    this.#poolerUrl = around.poolerUrlOf?.(name)
    const beside = { replicaUrl: around.replicaUrlOf?.(name), poolerUrl: this.#poolerUrl, log }
    this.#database = openModuleDatabase(name, around.urlOf(name), beside)
    this.#signals = new Signals(name, log)
    this.#outdated = new Signals(name, log, 'outdated')
    this.#outdating = around.cache && new Outdating(manifest, { store: around.cache, signals: this.#outdated })
    this.events = new ModuleEvents(manifest, { ...around, database: this.#database, log })
    // Also those that the module does not handle itself.
    for (const event of this.#outdating?.events ?? []) this.#handle(event, async () => {})
    this.services = this.#services(manifest, around, log)
    around.procedures.implement(healthContract(name), { $health: () => this.#ping(this.#database.sql) })
  }

  /** Everything that keeps the module from running, after its plugin has been built. */
  get allFaults(): string[] {
    const { contract, subscribes } = this.manifest
    const unhandled = subscribes.filter((event) => !this.#handled.has(event))
    return [
      ...this.faults,
      ...(this.#implemented ? [] : this.#procedures.implement(contract, {})),
      ...faultsOfSchemas(contract),
      ...faultsOfCaches(contract),
      ...unhandled.map((event) => `"${contract.name}" subscribes to "${event.name}" and does not handle it.`),
    ]
  }

  /** What metrics say of its connections. */
  get pools(): { name: string; pool: PoolStats }[] {
    const { name } = this.manifest.contract
    const { pool, replica } = this.#database
    return [{ name, pool }, ...(replica ? [{ name: `${name}:replica`, pool: replica.pool }] : [])]
  }

  /** What its routes that only read are answered from. */
  get replica(): Replica | undefined {
    return this.#database.replica
  }

  /**
   * What must have been done before the module answers anybody: new subscribers of its events get their history.
   *
   * @throws {BootError} when there is a pooler that cannot be used
   */
  async prepare(): Promise<void> {
    if (this.#poolerUrl) await checkPooler(this.#database.sql, this.manifest.contract.name, this.#poolerUrl)
    await this.events.prepare()
  }

  /** Begins to relay, to handle events and to sweep. */
  async start(): Promise<void> {
    this.#started = true
    this.#database.replica?.start()
    for (const signals of [this.#signals, this.#outdated]) await signals.listen(this.#database.direct)
    await this.events.start()
    for (const sweep of this.#sweeps) sweep.start()
  }

  /** Ends what runs in the background. Requests and calls are still answered. */
  async stop(): Promise<void> {
    await Promise.all([
      this.#database.replica?.stop(),
      this.events.stop(),
      ...this.#sweeps.map((sweep) => sweep.stop()),
    ])
  }

  /** To be done when systems outside have been closed: what was cut off there is noted first. */
  async close(): Promise<void> {
    await this.events.close()
    await this.#database.close()
  }

  #handle(event: ContractEvent, handle: Handle): void {
    this.events.handle(event, this.#outdating?.before(event, handle) ?? handle)
  }

  async #ping(db: Sql): Promise<object> {
    await db`select 1`
    return {}
  }

  #services(manifest: Manifest, around: Surroundings, log: FastifyBaseLogger): ModuleServices {
    const { contract, settings } = manifest
    return {
      settings: settingsOf(settings, around.settings),
      db: this.#database.db,
      cursors: signedCursors(around.secret, contract.name),
      call: (other) => {
        if (!manifest.uses.includes(other)) {
          const fault = `"${contract.name}" calls "${other.name}", which its manifest does not name in \`uses\`.`
          if (this.#started) throw new TypeError(fault)
          this.faults.push(fault)
        }
        return around.clientOf(contract.name, other)
      },
      implement: (procedures) => {
        this.#implemented = true
        this.faults.push(...around.procedures.implement(contract, procedures as Parameters<Procedures['implement']>[1]))
      },
      subscribe: (event: EventType, handle: Handle) => {
        if (!manifest.subscribes.includes(event as ContractEvent)) {
          this.faults.push(
            `"${contract.name}" handles "${event.name}", which its manifest does not name in \`subscribes\`.`,
          )
        }
        this.#handled.add(event)
        this.#handle(event as ContractEvent, handle)
      },
      publish: (tx: Transaction, event: EventType, data: unknown) => this.events.publish(tx, event, data),
      publishWith: (write: SQLWrapper, event: EventType, data: unknown) => this.events.publishWith(write, event, data),
      sweep: ({ name, every, run }) => {
        const sweep = new Sweep({ name, interval: every, run, log })
        this.#sweeps.push(sweep)
        return sweep
      },
      once: onceIn(contract.name, { db: this.#database.db, secret: around.secret }),
      sessions: around.sessions,
      signal: (tx: Transaction, message: string) => this.#signals.send(tx, message),
      onSignal: (hear: (message: string | null) => void) => this.#signals.hear(hear),
      traces,
      task: (task: Task) => void this.tasks.push(task),
    } as ModuleServices
  }
}

/** Compiles everything that the contract names, so that a bad schema is found now and not at the first call. */
function faultsOfSchemas({ name, procedures, events }: Contract): string[] {
  const schemas = [
    ...Object.entries(procedures).flatMap(([key, { input, output }]) => [
      { what: `the input of its procedure "${key}"`, schema: input },
      { what: `the output of its procedure "${key}"`, schema: output },
    ]),
    ...Object.values(events).map((event) => ({ what: `the data of its event "${event.name}"`, schema: event.data })),
  ]
  return schemas.flatMap(({ what, schema }) => {
    try {
      codecOf(schema).prepare()
      return []
    } catch (error) {
      return [`"${name}": ${what} is no schema for JSON: ${(error as Error).message}.`]
    }
  })
}

/** A cache that keeps nothing would look as if there were one. */
function faultsOfCaches({ name, procedures }: Contract): string[] {
  return Object.entries(procedures)
    .filter(([, { cache }]) => cache && !(cache.ttl > 0))
    .map(([key]) => `"${name}": the cache of its procedure "${key}" needs a ttl of more than 0 seconds, e.g. 30.`)
}

function settingsOf(schema: TObject | undefined, all: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const names = Object.keys(schema?.properties ?? {})
  return Object.fromEntries(names.filter((name) => all[name] !== undefined).map((name) => [name, all[name]]))
}
