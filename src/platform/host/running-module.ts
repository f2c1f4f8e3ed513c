import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import type { TObject } from 'typebox'
import type { Client, Contract, ContractEvent, EventType } from '../kit/contract.ts'
import { isExternal } from '../kit/external.ts'
import type { Manifest, ModuleServices, Task } from '../kit/module.ts'
import type { SQLWrapper, Transaction } from '../kit/tables.ts'
import { Outdating } from './cache/outdating.ts'
import type { CacheStore } from './cache/store.ts'
import { codecOf } from './codec.ts'
import { afterCommit } from './data/after-commit.ts'
import { type ModuleDatabase, openModuleDatabase } from './data/databases.ts'
import type { PoolStats } from './data/pool-stats.ts'
import { checkPooler } from './data/pooler.ts'
import type { Replica } from './data/replica.ts'
import type { Delivery, Receiver, Transport } from './events/delivery.ts'
import type { EventsOf } from './events/event-metrics.ts'
import type { HandledEventsOf, StuckEventsOf } from './events/events-task.ts'
import { giveHistory, replay, type Subscribed } from './events/history.ts'
import { pruneDone } from './events/inbox.ts'
import { confirm, prune, publish, publishWith } from './events/outbox.ts'
import { deadDeliveries } from './events/outside/dead-deliveries.ts'
import { Listening } from './events/outside/listening.ts'
import type { Outside } from './events/outside/outside.ts'
import { OutsideRelay } from './events/outside/outside-relay.ts'
import { readMessage } from './events/read-message.ts'
import { createRelay, type Relay } from './events/relay.ts'
import { discard, redrive, stuckEvents } from './events/stuck-events.ts'
import { Subscriber } from './events/subscriber.ts'
import { keepUnreadable } from './events/unreadable.ts'
import { healthContract } from './health.ts'
import { onceIn } from './idempotency.ts'
import { signedCursors } from './identity/cursors.ts'
import type { Sessions } from './identity/sessions.ts'
import type { Placement } from './placement.ts'
import type { Procedures } from './rpc/procedures.ts'
import { Signals } from './signals.ts'
import { Sweep } from './sweep.ts'
import { traces } from './tracing/traces.ts'

/** Milliseconds between looks into the inbox for what is due. */
const INBOX = 1_000
/** Old events are removed so many at a time, once in so many milliseconds, and at once again while there are more. */
const PRUNING = { most: 1_000, every: 60_000 }

/** What the host gives every module that it runs. */
export interface Surroundings {
  readonly placement: Placement
  readonly procedures: Procedures
  readonly transport: Transport
  readonly sessions: Sessions
  /** Where answers of other modules are kept; undefined where none are. */
  readonly cache: CacheStore | undefined
  readonly secret: string
  readonly settings: Readonly<Record<string, unknown>>
  readonly log: FastifyBaseLogger
  /** The systems outside that events are also handed to. */
  readonly outside: readonly Outside[]
  /** RabbitMQ, for modules that subscribe to events of other systems. */
  readonly amqpUrl: string | undefined
  /** Seconds that events are kept after all have confirmed them. */
  readonly eventsRetention: number
  /** How often an event is tried before it is dead (default: as {@link Subscriber} has it). */
  readonly eventAttempts?: number
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
  readonly #database: ModuleDatabase
  readonly #log: FastifyBaseLogger
  readonly #poolerUrl: string | undefined
  readonly #signals: Signals
  readonly #outdated: Signals
  readonly #outdating: Outdating | undefined
  readonly #subscriber: Subscriber
  readonly #relay: Relay
  readonly #outside: readonly OutsideRelay[]
  readonly #listening: Listening
  readonly #inbox: Sweep
  readonly #pruning: Sweep
  readonly #sweeps: Sweep[] = []
  readonly #placement: Placement
  readonly #transport: Transport
  readonly #procedures: Procedures
  readonly #handled = new Set<object>()
  #implemented = false
  #started = false
  #receiver: Receiver | undefined

  constructor(manifest: Manifest, around: Surroundings) {
    const { name } = manifest.contract
    const log = around.log.child({ module: name })
    this.manifest = manifest
    this.#log = log
    this.#placement = around.placement
    this.#transport = around.transport
    this.#procedures = around.procedures
    this.#poolerUrl = around.poolerUrlOf?.(name)
    const beside = { replicaUrl: around.replicaUrlOf?.(name), poolerUrl: this.#poolerUrl, log }
    this.#database = openModuleDatabase(name, around.urlOf(name), beside)
    this.#signals = new Signals(name, log)
    this.#outdated = new Signals(name, log, 'outdated')
    this.#outdating = around.cache && new Outdating(manifest, { store: around.cache, signals: this.#outdated })
    this.#subscriber = new Subscriber(name, {
      db: this.#database.db,
      transport: around.transport,
      log,
      modules: new Set(around.placement.all.map(({ contract }) => contract.name)),
      attempts: around.eventAttempts,
    })
    // Also those that the module does not handle itself.
    for (const event of this.#outdating?.events ?? []) this.#handle(event, async () => {})
    this.#inbox = new Sweep({ name: `inbox of ${name}`, interval: INBOX, log, run: () => this.#subscriber.sweep() })
    this.#pruning = new Sweep({
      name: `pruning of ${name}`,
      interval: PRUNING.every,
      log,
      run: async () => {
        const gone = [
          await prune(this.#database.sql, around.eventsRetention, PRUNING.most),
          await pruneDone(this.#database.db, around.eventsRetention, PRUNING.most),
        ]
        if (gone.includes(PRUNING.most)) this.#pruning.wake()
      },
    })
    const { sql } = this.#database
    this.#outside = around.outside.map((outside) => new OutsideRelay(name, outside, { db: sql, log }))
    this.#relay = createRelay(name, {
      db: sql,
      transport: around.transport,
      log,
      onOutside: () => this.#outside.forEach(({ sweep }) => void sweep.wake()),
    })
    this.#listening = new Listening(manifest.subscribes.filter(isExternal), {
      url: around.amqpUrl,
      db: this.#database.db,
      subscriber: this.#subscriber,
      log,
    })
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

  /** What metrics say of its events. */
  get events(): EventsOf {
    const { sql } = this.#database
    const outside = this.#outside.map(({ outside, stats }) => ({ name: outside.name, handlers: stats }))
    const { name } = this.manifest.contract
    const { stats: handlers } = this.#subscriber
    return { name, sql, handlers, queue: this.#transport, outside }
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

  /** What operators can do about events that it could not handle, and about those that it has published. */
  get handledEvents(): HandledEventsOf {
    const { db } = this.#database
    const { name } = this.manifest.contract
    return {
      name,
      stuckEvents: (options) => stuckEvents(db, options),
      redrive: (id) => redrive(db, id),
      discard: async (id) => {
        const given = await discard(db, id)
        if (given) this.#subscriber.confirm(given)
        await this.#subscriber.flush()
        return given !== undefined
      },
      replay: async (to, since) => {
        const subscribed = this.#subscribed.filter(({ subscriber }) => subscriber.name === to)
        return subscribed.length > 0 ? replay(this.#database, name, subscribed, since) : undefined
      },
    }
  }

  /** What operators can do about its events that systems outside have not accepted. */
  get deadDeliveries(): StuckEventsOf[] {
    const { name } = this.manifest.contract
    return this.#outside.map(({ outside }) => deadDeliveries(this.#database.sql, name, outside.name))
  }

  /**
   * What must have been done before the module answers anybody: new subscribers of its events get their history.
   *
   * @throws {BootError} when there is a pooler that cannot be used
   */
  async prepare(): Promise<void> {
    if (this.#poolerUrl) await checkPooler(this.#database.sql, this.manifest.contract.name, this.#poolerUrl)
    await giveHistory(this.#database, this.manifest.contract.name, this.#subscribed)
  }

  /** Begins to relay, to handle events and to sweep. */
  async start(): Promise<void> {
    this.#started = true
    const { name } = this.manifest.contract
    this.#database.replica?.start()
    this.#receiver = await this.#transport.receive(name, (message) => this.#receive(message))
    for (const signals of [this.#signals, this.#outdated]) await signals.listen(this.#database.direct)
    for (const sweep of this.#running) sweep.start()
    await this.#listening.start()
  }

  /** Ends what runs in the background. Requests and calls are still answered. */
  async stop(): Promise<void> {
    await Promise.all([
      this.#database.replica?.stop(),
      this.#receiver?.stop(),
      this.#listening.stop(),
      ...this.#running.map((sweep) => sweep.stop()),
    ])
    await this.#subscriber.flush()
  }

  /** To be done when systems outside have been closed: what was cut off there is noted first. */
  async close(): Promise<void> {
    await Promise.all(this.#outside.map(({ sweep }) => sweep.stop()))
    await this.#database.close()
  }

  async #receive(message: unknown): Promise<void> {
    const { name } = this.manifest.contract
    const isForged = (event: Delivery) => this.#subscriber.isForged(event)
    const { events, confirmation, garbage } = readMessage(name, message, isForged)
    if (events.length > 0) await this.#subscriber.receive(events)
    if (confirmation) await confirm(this.#database.sql, confirmation.subscriber, confirmation.deliveries)
    for (const { event, fault } of garbage)
      await keepUnreadable(event, fault, { db: this.#database.db, log: this.#log })
  }

  /** The module's own events, each with those who are told of it. */
  get #subscribed(): Subscribed[] {
    return Object.values(this.manifest.contract.events).flatMap((event) =>
      this.#subscribersOf(event).map((subscriber) => ({ event: event.name, subscriber })),
    )
  }

  #subscribersOf(event: EventType): Subscribed['subscriber'][] {
    const outside = this.#outside.filter(({ outside }) => outside.wants(event.name))
    return [...this.#placement.subscribersOf(event), ...outside.map(({ outside: { name } }) => ({ name }))]
  }

  get #running(): Pick<Sweep, 'start' | 'stop'>[] {
    return [this.#relay, ...this.#outside.map(({ sweep }) => sweep), this.#inbox, this.#pruning, ...this.#sweeps]
  }

  #handle(event: ContractEvent, handle: Parameters<Subscriber['on']>[1]): void {
    this.#subscriber.on(event, this.#outdating?.before(event, handle) ?? handle)
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
      subscribe: (event: EventType, handle: Parameters<Subscriber['on']>[1]) => {
        if (!manifest.subscribes.includes(event as ContractEvent)) {
          this.faults.push(
            `"${contract.name}" handles "${event.name}", which its manifest does not name in \`subscribes\`.`,
          )
        }
        this.#handled.add(event)
        this.#handle(event as ContractEvent, handle)
      },
      publish: async (tx: Transaction, event: EventType, data: unknown) => {
        await publish(tx, event as ContractEvent, data, this.#subscribersOf(event))
        afterCommit(tx, () => this.#relay.wake())
      },
      publishWith: async (write: SQLWrapper, event: EventType, data: unknown) => {
        const rows = await publishWith(
          this.#database.db,
          write,
          event as ContractEvent,
          data,
          this.#subscribersOf(event),
        )
        this.#relay.wake()
        return rows
      },
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
