import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyBaseLogger } from 'fastify'
import pino from 'pino'
import { Type } from 'typebox'
import type { Transport } from '../../src/platform/host/events/delivery.ts'
import type { EventsOf } from '../../src/platform/host/events/event-metrics.ts'
import type { HandledEventsOf, StuckEventsOf } from '../../src/platform/host/events/events-task.ts'
import type { Outside } from '../../src/platform/host/events/outside/outside.ts'
import { place } from '../../src/platform/host/placement.ts'
import { Procedures } from '../../src/platform/host/rpc/procedures.ts'
import { RunningModule, type Surroundings } from '../../src/platform/host/running-module.ts'
import { openState } from '../../src/platform/host/state.ts'
import { type Contract, defineContract, event } from '../../src/platform/kit/contract.ts'
import type { ExternalEvent } from '../../src/platform/kit/external.ts'
import {
  defineModule,
  type Handling,
  type Manifest,
  type ModulePlugin,
  type ModuleServices,
  type ReceivedEvent,
  type SubscriptionOptions,
  subscription,
} from '../../src/platform/kit/module.ts'
import { sql, type Transaction } from '../../src/platform/kit/tables.ts'

const migrations = fileURLToPath(new URL('../../migrations', import.meta.url))

export const happened = event('thing.happened', {
  version: 1,
  key: 'key',
  data: Type.Object({ key: Type.String(), n: Type.Integer(), text: Type.Optional(Type.String()) }),
})

/** Publishes; `beta` and `gamma` subscribe. */
export const alpha = defineContract('alpha', { events: { happened } })

export type Effect = (event: ReceivedEvent<{ key: string; n: number }>, handling: Handling) => Promise<void>

/** What a subscriber does with an event where a test does not say: it writes a row, one for each time. */
export const writeEffect: Effect = async ({ id, key, sequence, data }, { tx }) => {
  await tx.execute(sql`
    insert into effects (event_id, key, sequence, n) values (${id}::uuid, ${key}, ${sequence}, ${data.n})`)
}

export interface EventHostOptions {
  /** Variables as for a process: `DATABASE_URL` and, for queues on Redis, `REDIS_URL`. */
  env: Record<string, string>
  /** A folder made by {@link eventMigrations}. */
  migrations: string
  hosted?: readonly string[]
  /** The contract of `alpha` (default: {@link alpha}); another one makes this a process of another release. */
  contract?: typeof alpha
  /** The modules that subscribe (default: `beta` and `gamma`). */
  subscribers?: readonly ('beta' | 'gamma')[]
  /** Seconds that events are kept (default: a day). */
  eventsRetention?: number
  /** How they do (default: in the ordinary way). */
  subscription?: SubscriptionOptions
  /** What a subscribing module does (default: {@link writeEffect}). */
  effects?: Partial<Record<'beta' | 'gamma', Effect>>
  log?: FastifyBaseLogger
  /** How often a handler is tried (default: as the application has it). */
  attempts?: number
  /** The systems outside that the events are also handed to. */
  outside?: readonly Outside[]
  /** What `beta` handles of systems that are not Seam, by {@link writeEffect}, and the RabbitMQ that it comes from. */
  external?: { events: readonly ExternalEvent[]; amqpUrl: string }
}

export interface EventHost {
  readonly transport: Transport
  module(name: string): ModuleServices<typeof alpha>
  /** What operators can do about the events that a module could not handle. */
  handledEventsOf(name: string): HandledEventsOf
  /** What operators can do about the events of `alpha` that a system outside has not accepted. */
  deadDeliveries(subscriber: string): StuckEventsOf
  /** What metrics say of a module's events. */
  eventsOf(name: string): EventsOf
  /** Publishes in a transaction of its own, and resolves after the commit. */
  publish(key: string, n: number, also?: (tx: Transaction) => Promise<unknown>): Promise<void>
  /** Begins to relay and to handle, as a process does once it listens. */
  start(): Promise<void>
  /** As a process closes. */
  close(): Promise<void>
}

/** One process's part in events, without what serves requests: modules, databases and queues as the application composes them. */
export async function eventHost(options: EventHostOptions): Promise<EventHost> {
  const {
    env,
    effects,
    contract = alpha,
    subscribers = ['beta', 'gamma'],
    log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' }),
  } = options
  const catalogue = [defineModule(contract, { plugin: pluginOf(() => {}) }), ...subscribers.map(subscriber)]
  const { placement, faults } = place(catalogue as Manifest[], options.hosted ?? 'all', () => true)
  if (faults.length > 0) throw new Error(faults.join('\n'))
  const hosted = placement.hosted.map(({ contract }) => contract.name)
  const state = await openState({
    hosted,
    databaseUrl: env.DATABASE_URL,
    moduleDatabaseUrls: new Map(),
    redisUrls: env.REDIS_URL ? [env.REDIS_URL] : [],
    dataFolder: '.data',
    migrations: options.migrations,
    log,
  })
  const transport = state.transport!
  const surroundings = {
    placement,
    procedures: new Procedures({ strict: true, log }),
    transport,
    secret: 'a secret that only these tests know, of enough length',
    settings: {},
    log,
    eventAttempts: options.attempts,
    outside: options.outside ?? [],
    amqpUrl: options.external?.amqpUrl,
    eventsRetention: options.eventsRetention ?? 24 * 3600,
    urlOf: state.urlOf,
  } as unknown as Surroundings
  const modules = new Map<string, RunningModule>()
  for (const manifest of placement.hosted) {
    const module = new RunningModule(manifest, surroundings)
    const { default: plugin } = await manifest.plugin()
    await plugin(module.services as Parameters<ModulePlugin>[0])
    modules.set(manifest.contract.name, module)
  }
  const module = (name: string) => modules.get(name)!.services as unknown as ModuleServices<typeof alpha>
  return {
    transport,
    module,
    handledEventsOf: (name) => modules.get(name)!.events.handled,
    deadDeliveries: (name) => modules.get('alpha')!.events.deadDeliveries.find((one) => one.name === name)!,
    eventsOf: (name) => modules.get(name)!.events.measured,
    publish: (key, n, also) =>
      module('alpha').db.transaction(async (tx) => {
        await module('alpha').publish(tx, contract.events.happened, { key, n })
        await also?.(tx)
      }),
    async start() {
      await Promise.all([...modules.values()].map((module) => module.prepare()))
      await Promise.all([...modules.values()].map((module) => module.start()))
      await Promise.all((options.outside ?? []).map((system) => system.open()))
    },
    async close() {
      await Promise.allSettled([...modules.values()].map((module) => module.stop()))
      await transport.close()
      await Promise.all((options.outside ?? []).map((system) => system.close()))
      await Promise.allSettled([...modules.values()].map((module) => module.close()))
      await state.close()
    },
  }

  function subscriber(name: 'beta' | 'gamma') {
    const external = name === 'beta' ? (options.external?.events ?? []) : []
    return defineModule(defineContract(name, {}), {
      subscribes: [subscription(contract.events.happened, options.subscription ?? {}), ...external],
      plugin: pluginOf((app) => {
        app.subscribe(contract.events.happened, effects?.[name] ?? writeEffect)
        for (const event of external) app.subscribe(event, writeEffect as Parameters<typeof app.subscribe>[1])
      }),
    })
  }
}

const pluginOf = (plugin: (app: ModuleServices) => void) => async () => ({
  default: plugin as unknown as ModulePlugin<Contract>,
})

/** Migrations of the modules above: the event tables as real modules have them, and a table `effects`. Remove the folder. */
export async function eventMigrations(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'seam-migrations-'))
  await cp(join(migrations, 'seam'), join(folder, 'seam'), { recursive: true })
  const { entries } = JSON.parse(await readFile(join(migrations, 'users/meta/_journal.json'), 'utf8'))
  const files: string[] = await Promise.all(
    entries.map(({ tag }: { tag: string }) => readFile(join(migrations, 'users', `${tag}.sql`), 'utf8')),
  )
  const statements = files
    .flatMap((file) => file.split('--> statement-breakpoint'))
    .filter((statement) => /create schema|"(in|out)box\w*"/i.test(statement))
  for (const module of ['alpha', 'beta', 'gamma']) {
    const text = [
      ...statements.map((statement) => statement.replaceAll('"users"', `"${module}"`)),
      `create table ${module}.effects (event_id uuid, key text, sequence bigint, n int, at timestamptz default clock_timestamp())`,
    ].join('\n--> statement-breakpoint\n')
    await mkdir(join(folder, module, 'meta'), { recursive: true })
    await writeFile(join(folder, module, '0000_init.sql'), text)
    await writeFile(
      join(folder, module, 'meta/_journal.json'),
      JSON.stringify({
        version: '7',
        dialect: 'postgresql',
        entries: [{ idx: 0, version: '7', when: 1, tag: '0000_init', breakpoints: true }],
      }),
    )
  }
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}
