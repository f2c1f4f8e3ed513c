import type { ConfirmChannel } from 'amqplib'
import type { FastifyBaseLogger } from 'fastify'
import type { Delivery } from '../delivery.ts'
import { type AmqpConnection, connectAmqp, endWithChannel } from './amqp.ts'
import { attributesOf } from './cloud-event.ts'
import { NotNow, type Outside, PATIENCE } from './outside.ts'

/** The exchange, a durable topic; its routing keys are `<module>.<event>`, e.g. `users.user.created`. */
export const EXCHANGE = 'seam.events'

/** Messages of one module that a process may have unconfirmed. */
const CONCURRENCY = 200

/**
 * Hands every event to RabbitMQ: as persistent messages, CloudEvents 1.0 in binary mode. An event counts as accepted when
 * the broker has confirmed it.
 */
export function amqpExchange(url: string, log: FastifyBaseLogger): Outside {
  let connection: AmqpConnection | undefined
  let channel: ConfirmChannel | undefined
  let isBlocked = false
  const waiting: (() => void)[] = []
  const ready = () => waiting.forEach((tell) => void tell())
  return {
    name: 'amqp:seam.events',
    concurrency: CONCURRENCY,
    pauses: [],
    wants: () => true,
    isReady: () => channel !== undefined && !isBlocked,
    onReady: (tell) => void waiting.push(tell),
    async handOver(event) {
      const { promise: confirmed, resolve, reject } = Promise.withResolvers<void>()
      const late = () => reject(new NotNow(`RabbitMQ has not confirmed an event within ${PATIENCE / 1000} s.`))
      const timer = setTimeout(late, PATIENCE).unref()
      try {
        if (!channel) throw new NotNow('RabbitMQ cannot be reached.')
        const key = `${event.publisher}.${event.name}`
        channel.publish(
          EXCHANGE,
          key,
          Buffer.from(JSON.stringify(event.data)),
          propertiesOf(event),
          (error: unknown) =>
            error ? reject(new NotNow('RabbitMQ has not taken an event.', { cause: error })) : resolve(),
        )
        await confirmed
      } catch (error) {
        throw error instanceof NotNow ? error : new NotNow('RabbitMQ cannot be reached.', { cause: error })
      } finally {
        clearTimeout(timer)
      }
    },
    async open() {
      connection = await connectAmqp(url, {
        log,
        async setUp(connection) {
          const made = await connection.createConfirmChannel()
          endWithChannel(connection, made)
          await made.assertExchange(EXCHANGE, 'topic', { durable: true })
          // A broker short of memory or disk takes nothing, and says so.
          connection.on('blocked', () => (isBlocked = true))
          connection.on('unblocked', () => {
            isBlocked = false
            ready()
          })
          isBlocked = false
          channel = made
          ready()
        },
        lost: () => (channel = undefined),
      })
    },
    async close() {
      await connection?.close()
    },
  }
}

function propertiesOf(event: Delivery) {
  const { datacontenttype, ...attributes } = attributesOf(event)
  return {
    persistent: true,
    contentType: datacontenttype!,
    messageId: event.id,
    type: event.name,
    timestamp: Math.floor(Date.parse(event.occurredAt) / 1000),
    headers: {
      ...Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`cloudEvents:${name}`, value])),
      // Also where tracing tools look for it.
      ...(event.traceparent !== null && { traceparent: event.traceparent }),
      ...(event.requestId !== null && { 'x-request-id': event.requestId }),
    },
  }
}
