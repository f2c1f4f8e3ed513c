import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import { Sweep } from '../sweep.ts'
import type { Message, Transport } from './delivery.ts'
import { type Due, putOff, takeDue } from './outbox.ts'

/** Deliveries taken at a time. */
const BATCH = 200
/**
 * Seconds until an unconfirmed delivery is sent again, for the first time. It is in the queue still, most probably, and
 * only a queue that was emptied needs this.
 */
const CONFIRMATION_DEADLINE = 30
/** Seconds until a delivery that could not be sent is tried again. */
const RETRY = 1
/** Milliseconds between looks into the outbox when nobody wakes the relay. */
const INTERVAL = 1_000

/** Brings the events of one module from its outbox to the queues of their subscribers. Runs in every process that hosts the module. */
export function createRelay(module: string, options: { db: Sql; transport: Transport; log: FastifyBaseLogger }): Sweep {
  const { db, transport, log } = options
  const run = async () => {
    for (;;) {
      const due = await takeDue(db, module, BATCH, CONFIRMATION_DEADLINE)
      if (due.length === 0) return
      await sendAll(due)
      if (due.length < BATCH) return
    }
  }
  const sendAll = async (due: readonly Due[]) => {
    const sent = await Promise.allSettled(
      [...Map.groupBy(due, ({ subscriber }) => subscriber)].map(async ([subscriber, group]) => {
        const messages = group.map(({ event }): Message => ({ kind: 'event', id: event.id, event }))
        try {
          await transport.send(subscriber, messages)
        } catch (error) {
          await putOff(db, group, RETRY)
          throw error
        }
      }),
    )
    const failed = sent.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
  }
  return new Sweep({ name: `relay of ${module}`, interval: INTERVAL, log, run })
}
