import { createPostgresBackend, Queue, runMigrations, Worker, withBackend } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'
import pg from 'pg'
import type { Message, Transport } from './delivery.ts'

/** How many messages of one module a process handles at the same time. */
const CONCURRENCY = 10
/** First by itself and at once, then by the queue with growing pauses: 1 s, 2 s, 4 s … about 8 min in all. */
const ATTEMPTS = 9
const JOB = {
  attempts: ATTEMPTS,
  backoff: { type: 'exponential', delay: 1000, jitter: 0.5 },
  removeOnComplete: true,
  removeOnFail: true,
}
/** Braces keep all keys of a Redis cluster's queue on one node. */
const PREFIX = '{seam}'

type AnyQueue = Pick<Queue, 'addBulk' | 'close' | 'on'>
type AnyWorker = Pick<Worker, 'close' | 'on' | 'waitUntilReady'>
interface Backend {
  name: string
  queue(module: string): AnyQueue
  worker(module: string, work: (job: { data: unknown }) => Promise<void>): AnyWorker
  close(): Promise<void>
}

/** BullMQ on Redis. The server must be set to `noeviction`. */
export function redisTransport(url: string, log: FastifyBaseLogger): Transport {
  // A sender must hear of a dead Redis at once, a worker waits for its return: two kinds of connection.
  const sender = new Redis(url, { enableOfflineQueue: false, maxRetriesPerRequest: 1, lazyConnect: true })
  const receiver = new Redis(url, { maxRetriesPerRequest: null, lazyConnect: true })
  for (const client of [sender, receiver]) client.on('error', (error) => log.debug({ err: error }, 'Redis'))
  return new BullTransport(log, {
    name: 'BullMQ on Redis',
    queue: (module) =>
      new Queue(module, { connection: sender, prefix: PREFIX, defaultJobOptions: JOB, skipWaitingForReady: true }),
    worker: (module, work) =>
      new Worker(module, work, { connection: receiver, prefix: PREFIX, concurrency: CONCURRENCY }),
    async close() {
      sender.disconnect()
      receiver.disconnect()
    },
  })
}

/** BullMQ on its own PostgreSQL backend, in the schema `bullmq` of the given database. */
export function postgresTransport(url: string, log: FastifyBaseLogger): Transport {
  const { Queue, Worker } = withBackend(createPostgresBackend)
  return new BullTransport(log, {
    name: 'BullMQ on PostgreSQL',
    queue: (module) =>
      new Queue(module, {
        connection: { connectionString: url, max: 2 },
        defaultJobOptions: JOB,
      }) as unknown as AnyQueue,
    worker: (module, work) =>
      new Worker(module, work, {
        connection: { connectionString: url, max: 4 },
        concurrency: CONCURRENCY,
        runRetryDelay: 1000,
      }) as unknown as AnyWorker,
    async close() {},
  })
}

/** Makes or upgrades the tables of BullMQ's PostgreSQL backend. Safe when many processes do it at once. */
export async function migratePostgresTransport(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 })
  await client.connect()
  try {
    await runMigrations(client)
  } finally {
    await client.end()
  }
}

class BullTransport implements Transport {
  readonly name: string
  readonly #backend: Backend
  readonly #log: FastifyBaseLogger
  readonly #queues = new Map<string, AnyQueue>()
  readonly #workers: AnyWorker[] = []

  constructor(log: FastifyBaseLogger, backend: Backend) {
    this.name = backend.name
    this.#backend = backend
    this.#log = log
  }

  async send(module: string, messages: readonly Message[]): Promise<void> {
    // The id of a job is the message's: while it waits in the queue, the same message is not put there twice.
    await this.#queue(module).addBulk(
      messages.map((message) => ({ name: message.kind, data: message, opts: { jobId: message.id } })),
    )
  }

  async receive(module: string, handle: (message: Message) => Promise<void>): Promise<void> {
    const worker = this.#backend.worker(module, async (job) => handle(job.data as Message))
    worker.on('error', (error) => this.#log.warn({ err: error, module }, 'the event queue is not well'))
    worker.on('failed', (job, error) => {
      const message = job?.data as Message | undefined
      this.#log.warn(
        { err: error, module, message: message?.id, attempt: job?.attemptsMade },
        'an event could not be handled and will be tried again',
      )
    })
    this.#workers.push(worker)
    await worker.waitUntilReady()
  }

  async close(): Promise<void> {
    const closing = Promise.allSettled([...this.#workers, ...this.#queues.values()].map((part) => part.close()))
    let timer: NodeJS.Timeout | undefined
    await Promise.race([
      closing,
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, 5000)
      }),
    ])
    clearTimeout(timer)
    await this.#backend.close()
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
}
