import type { FastifyBaseLogger } from 'fastify'
import type { ExternalEvent } from '../../../kit/external.ts'
import type { Database } from '../../../kit/tables.ts'
import type { Receiver } from '../delivery.ts'
import type { Subscriber } from '../subscriber.ts'
import { keepUnreadable } from '../unreadable.ts'
import { type Incoming, readIncoming } from './incoming.ts'

interface Around {
  /** RabbitMQ. */
  url: string | undefined
  db: Database
  subscriber: Subscriber
  log: FastifyBaseLogger
}

/**
 * Brings what a module subscribes to of systems that are not Seam from their queues to its inbox: from there on an event is
 * like any other. A message is taken off its queue when it has had its effect or is kept in the inbox.
 */
export class Listening {
  readonly #queues: ReadonlyMap<string, readonly ExternalEvent[]>
  readonly #around: Around
  #receivers: Receiver[] = []

  constructor(events: readonly ExternalEvent[], around: Around) {
    this.#queues = Map.groupBy(events, ({ queue }) => queue)
    this.#around = around
  }

  async start(): Promise<void> {
    const { url, log } = this.#around
    if (this.#queues.size === 0 || url === undefined) return
    const { receiveFromQueue } = await import('./amqp-queue.ts')
    for (const [queue, events] of this.#queues) {
      const handle = (message: Incoming) => this.#handle(queue, events, message)
      this.#receivers.push(await receiveFromQueue(url, queue, { log, handle }))
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#receivers.splice(0).map((receiver) => receiver.stop()))
  }

  async #handle(queue: string, events: readonly ExternalEvent[], message: Incoming): Promise<void> {
    const { event, fault } = readIncoming(queue, events, message)
    if (fault === undefined) return this.#around.subscriber.receive([event])
    await keepUnreadable(event, fault, this.#around)
  }
}
