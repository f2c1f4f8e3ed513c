import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, ConsumeMessage } from 'amqplib'
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../../within.ts'
import type { Receiver } from '../delivery.ts'
import { connectAmqp, endWithChannel } from './amqp.ts'
import type { Incoming } from './incoming.ts'

/** Messages of a queue that a process handles at a time: half of the module's connections. */
const CONCURRENCY = 5
/** Milliseconds until a message that could not even be kept comes again, and that a stop waits for handlers. */
const PATIENCE = { again: 1_000, handlers: 3_000 }

/**
 * Has every message of a queue handled, by this process or another one. The queue must be there; until it is, it is looked
 * for again and again. A message is taken off the queue when it has been handled; a rejection has it come again.
 */
export async function receiveFromQueue(
  url: string,
  queue: string,
  { log, handle }: { log: FastifyBaseLogger; handle: (message: Incoming) => Promise<void> },
): Promise<Receiver> {
  const underWay = new Set<Promise<void>>()
  let stopConsuming = async () => {}
  let isStopped = false
  const take = async (channel: Channel, message: ConsumeMessage) => {
    try {
      await handle(message)
      channel.ack(message)
    } catch (error) {
      log.warn({ err: error, queue }, 'a message could not be kept and will come again')
      await sleep(PATIENCE.again, undefined, { ref: false })
      channel.nack(message)
    }
  }
  const connection = await connectAmqp(url, {
    log: log.child({ queue }),
    async setUp(connection) {
      const channel = await connection.createChannel()
      endWithChannel(connection, channel)
      await channel.checkQueue(queue)
      await channel.prefetch(CONCURRENCY)
      const { consumerTag } = await channel.consume(queue, (message) => {
        // The queue was deleted.
        if (message === null) return void channel.close().catch(() => {})
        if (isStopped) return
        // What is not acknowledged because the channel is gone comes again.
        const taken = take(channel, message).catch((error) => log.debug({ err: error, queue }, 'RabbitMQ'))
        underWay.add(taken)
        void taken.then(() => underWay.delete(taken))
      })
      stopConsuming = async () => void (await channel.cancel(consumerTag))
    },
  })
  return {
    async stop() {
      isStopped = true
      await within(PATIENCE.handlers, Promise.allSettled([stopConsuming(), ...underWay]))
      await connection.close()
    },
  }
}
