import {
  assertSchemaCompatibility,
  createPostgresBackend,
  DEFAULT_SCHEMA,
  LATEST_SCHEMA_VERSION,
  MIGRATION_ADVISORY_LOCK_KEY,
  Queue,
  runMigrations,
  SchemaMigrationRequiredError,
  Worker,
  withBackend,
} from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import pg from 'pg'
import { type Migrated, migrationFailed } from '../data/migrate.ts'
import { untilReachable } from '../data/until-reachable.ts'
import { connectTo } from '../redis.ts'
import { within } from '../within.ts'
import type { Message, Receiver, Transport } from './delivery.ts'

/** How many messages of one module a process handles at the same time: half of the module's connections, requests have the rest. */
const CONCURRENCY = 5
/**
 * A message fails only when the module's database cannot be used: an event whose handler fails is kept there. It is tried
 * at once, then with growing pauses: 1 s, 2 s, 4 s … about 4 min in all.
 */
const JOBS = {
  attempts: 9,
  backoff: { type: 'exponential', delay: 1000, jitter: 0.5 },
  removeOnComplete: true,
  // What is given up here is unconfirmed in the outbox still, and comes again from there.
  removeOnFail: true,
}
/**
 * What a process that was killed was handling is taken over by others in at most 20 s. A process that only seems dead
 * (its event loop blocked for so long) does no harm either: a message that is handled twice has one effect.
 */
const TAKEOVER = { lockDuration: 10_000, stalledInterval: 5_000 }
/** Braces keep all keys of a Redis cluster's queue on one node. */
const PREFIX = '{seam}'
/** How long a start waits for the queue, and a stop for handlers and connections, in milliseconds. */
const PATIENCE = { start: 5_000, handlers: 3_000, connections: 1_000 }

type AnyQueue = Pick<Queue, 'add' | 'addBulk' | 'close' | 'getJobCountByTypes' | 'on'>
type AnyWorker = Pick<Worker, 'close' | 'on' | 'waitUntilReady'>
interface Backend {
  name: string
  queue(module: string): AnyQueue
  worker(module: string, work: (job: { data: unknown }) => Promise<void>): AnyWorker
  /** Resolves once messages can be sent. */
  ready(): Promise<unknown>
  /** False when nobody answers, so that there is nothing to take leave of. */
  answers(): boolean
  disconnect(): void
}

/**
 * BullMQ on Redis, which must be set to `noeviction`.
 *
 * @param urls one server, or nodes of a cluster
 */
export function redisTransport(urls: readonly string[], log: FastifyBaseLogger): Transport {
  // A sender must hear of a dead Redis at once, a worker waits for its return: two kinds of connection. They connect by
  // themselves, again and again: BullMQ gives up for ever on one whose first attempt it has made itself.
  const forSending = { enableOfflineQueue: false, maxRetriesPerRequest: 1, commandTimeout: 5_000 }
  const sender = connectTo(urls, forSending, { log })
  const receiver = connectTo(urls, { maxRetriesPerRequest: null }, { log })
  return new BullTransport(log, {
    name: 'BullMQ on Redis',
    queue: (module) =>
      new Queue(module, {
        connection: sender,
        prefix: PREFIX,
        defaultJobOptions: JOBS,
        // The workers check the version. Here it would be asked for once, and a failure be remembered.
        skipWaitingForReady: true,
        skipVersionCheck: true,
      }),
    worker: (module, work) =>
      new Worker(module, work, { connection: receiver, prefix: PREFIX, concurrency: CONCURRENCY, ...TAKEOVER }),
    ready: async () => {
      if (sender.status !== 'ready') await new Promise((resolve) => sender.once('ready', resolve))
    },
    answers: () => receiver.status === 'ready',
    disconnect() {
      sender.disconnect()
      receiver.disconnect()
    },
  })
}

/** BullMQ on its own PostgreSQL backend, in the schema `bullmq` of the given database. */
export function postgresTransport(url: string, log: FastifyBaseLogger): Transport {
  const { Queue, Worker } = withBackend(createPostgresBackend)
  const connection = {
    connectionString: url,
    application_name: 'seam queue',
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  }
  return new BullTransport(log, {
    name: 'BullMQ on PostgreSQL',
    queue: (module) =>
      new Queue(module, {
        connection: { ...connection, max: 2 },
        defaultJobOptions: JOBS,
      }) as unknown as AnyQueue,
    worker: (module, work) =>
      new Worker(module, work, {
        connection: { ...connection, max: 4 },
        concurrency: CONCURRENCY,
        runRetryDelay: 1000,
        ...TAKEOVER,
      }) as unknown as AnyWorker,
    ready: async () => {},
    answers: () => true,
    disconnect() {},
  })
}

/**
 * Makes or upgrades the tables of BullMQ's PostgreSQL backend. Safe when many processes do it at once.
 *
 * @throws {BootError} when the database cannot be used, or BullMQ's own migration fails and is rolled back
 */
export async function migratePostgresTransport(url: string): Promise<Migrated> {
  let client: pg.Client | undefined
  try {
    // One that has failed to connect cannot try again.
    client = await untilReachable(() => connected(url))
    // In turns, so that one of those who do it at once finds something to do.
    await client.query('select pg_advisory_lock($1)', [MIGRATION_ADVISORY_LOCK_KEY])
    const before = await assertSchemaCompatibility(client).catch((error) => {
      if (error instanceof SchemaMigrationRequiredError) return 0
      throw error
    })
    const applied = before < LATEST_SCHEMA_VERSION ? [`version ${await runMigrations(client)}`] : []
    return { schema: DEFAULT_SCHEMA, applied }
  } catch (error) {
    throw migrationFailed(DEFAULT_SCHEMA, error)
  } finally {
    await client?.end().catch(() => {})
  }
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, lock_timeout: 60_000 })
  client.on('error', () => {})
  await client.connect()
  return client
}

class BullTransport implements Transport {
  readonly name: string
  readonly #backend: Backend
  readonly #log: FastifyBaseLogger
  readonly #queues = new Map<string, AnyQueue>()
  #closed = false

  constructor(log: FastifyBaseLogger, backend: Backend) {
    this.name = backend.name
    this.#backend = backend
    this.#log = log
  }

  async send(module: string, messages: readonly Message[]): Promise<void> {
    if (this.#closed) throw new Error('The queues are closed.')
    const queue = this.#queue(module)
    try {
      // The id of a job is the message's: while it waits in the queue, the same message is not put there twice.
      const jobs = messages.map((data) => ({ name: data.kind, data, opts: { jobId: data.id } }))
      const [job] = jobs
      // On PostgreSQL a bulk makes two temporary tables, which takes five times as long as adding the one message of most.
      if (jobs.length === 1 && job) await queue.add(job.name, job.data, job.opts)
      else await queue.addBulk(jobs)
    } catch (error) {
      this.#drop(module, queue)
      throw error
    }
  }

  async receive(module: string, handle: (message: unknown) => Promise<void>): Promise<Receiver> {
    const underWay = new Set<Promise<void>>()
    const worker = this.#backend.worker(module, async (job) => {
      const handling = handle(job.data)
      underWay.add(handling)
      await handling.finally(() => underWay.delete(handling))
    })
    worker.on('error', (error) => this.#log.warn({ err: error, module }, 'the event queue is not well'))
    worker.on('failed', (job, error) => {
      this.#log.warn(
        { err: error, module, message: job?.id, attempt: job?.attemptsMade },
        'a message of the event queue could not be handled and will be tried again',
      )
    })
    const stop = async () => {
      // Without an answer a worker would wait for its connection, so the handlers are waited for here.
      const closing = this.#backend.answers() ? worker.close() : worker.close(true)
      await within(PATIENCE.handlers, Promise.allSettled([closing, ...underWay]))
    }
    try {
      if (!(await within(PATIENCE.start, Promise.all([worker.waitUntilReady(), this.#backend.ready()]))))
        this.#log.warn({ module }, 'the event queue cannot be reached; events wait in the outbox until it can')
    } catch (error) {
      await stop()
      throw error
    }
    return { stop }
  }

  async waiting(module: string): Promise<number | undefined> {
    if (this.#closed) return undefined
    const queue = this.#queue(module)
    try {
      return await queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized')
    } catch (error) {
      this.#drop(module, queue)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await within(PATIENCE.connections, Promise.allSettled([...this.#queues.values()].map((queue) => queue.close())))
    this.#backend.disconnect()
  }

  #queue(module: string): AnyQueue {
    let queue = this.#queues.get(module)
    if (!queue) {
      queue = this.#backend.queue(module)
      queue.on('error', (error) => this.#log.debug({ err: error, module }, 'the event queue is not well'))
      this.#queues.set(module, queue)
    }
    return queue
  }

  /** A queue whose first connection failed stays so for ever; the next message goes by a new one. */
  #drop(module: string, queue: AnyQueue): void {
    if (this.#queues.get(module) !== queue) return
    this.#queues.delete(module)
    void queue.close().catch(() => {})
  }
}
