import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import { Sweep } from '../sweep.ts'
import { spanBelow } from '../tracing/tracer.ts'
import type { Message, Transport } from './delivery.ts'
import { type Due, putOff, takeDue } from './outbox.ts'
import { sequence } from './sequence.ts'

/** Deliveries taken at a time. */
const BATCH = 500
/** What one message carries at most: events, and characters of their data. */
const MESSAGE = { events: 200, size: 500_000 }
/** How many batches may be on their way to the queue while the next one is taken. */
const UNDER_WAY = 2
/**
 * Seconds until an unconfirmed delivery is sent again, for the first time. It is in the queue still, most probably, and
 * only a queue that was emptied needs this.
 */
const CONFIRMATION_DEADLINE = 30
/** Seconds until a delivery that could not be sent is tried again. */
const RETRY = 1
/** Milliseconds between looks into the outbox when nobody wakes the relay. */
const INTERVAL = 1_000

/** Brings the events of one module from its outbox to the queues of their subscribers. */
export interface Relay {
  /** What is new; to be woken when something was published. */
  readonly news: Sweep
  /** What was not confirmed in time, and what could not be sent. */
  readonly again: Sweep
}

/**
 * Runs in every process that hosts the module.
 *
 * @param options.onOutside there is something new for systems outside
 */
export function createRelay(
  module: string,
  options: { db: Sql; transport: Transport; log: FastifyBaseLogger; onOutside?: () => void },
): Relay {
  const { db, transport, log, onOutside } = options
  const taking = { limit: BATCH, seconds: CONFIRMATION_DEADLINE }
  const takeNew = async (isBehind: boolean) => {
    const { events, due, outside } = await sequence(db, module, { ...taking, isBehind })
    if (outside) onOutside?.()
    return { due, more: events === BATCH }
  }
  const takeAgain = async () => {
    const due = await takeDue(db, module, taking.limit, taking.seconds)
    return { due, more: due.length === BATCH }
  }
  const all = (take: (isBehind: boolean) => Promise<{ due: readonly Due[]; more: boolean }>) => async () => {
    const underWay = new Set<Promise<void>>()
    const failures: unknown[] = []
    for (let batches = 0; ; batches++) {
      const { due, more } = await take(batches > 0)
      const sending = sendAll(due).catch((error) => void failures.push(error))
      underWay.add(sending)
      void sending.then(() => underWay.delete(sending))
      if (!more || failures.length > 0) break
      if (underWay.size >= UNDER_WAY) await Promise.race(underWay)
    }
    await Promise.all(underWay)
    if (failures.length > 0) throw failures[0]
  }
  const sendAll = async (due: readonly Due[]) => {
    const sent = await Promise.allSettled(
      [...Map.groupBy(due, ({ subscriber }) => subscriber)].map(async ([subscriber, group]) => {
        const spans = group.map(({ event }) =>
          spanBelow(event.traceparent, `send ${event.name}`, 'producer', { 'seam.subscriber': subscriber }),
        )
        const below = group.map((one, index): Due => {
          const span = spans[index]
          return span ? { ...one, event: { ...one.event, traceparent: span.traceparent } } : one
        })
        try {
          await transport.send(subscriber, messagesOf(below))
          for (const span of spans) span?.end()
        } catch (error) {
          for (const span of spans) span?.end(error)
          await putOff(db, group, RETRY)
          throw error
        }
      }),
    )
    const failed = sent.find((outcome) => outcome.status === 'rejected')
    if (failed) throw failed.reason
  }
  return {
    news: new Sweep({ name: `relay of ${module}`, interval: INTERVAL, log, run: all(takeNew) }),
    again: new Sweep({ name: `relay of ${module}, again`, interval: INTERVAL, log, run: all(takeAgain) }),
  }
}

/**
 * What goes for the first time goes in batches. What is sent again goes alone, under an id of its own, so that a queue that
 * nobody empties holds each delivery twice at most, however often it is sent.
 */
function messagesOf(due: readonly Due[]): Message[] {
  const again = due.filter(({ attempts }) => attempts > 1)
  const first = due.filter(({ attempts }) => attempts === 1)
  return [...again.map((one) => messageOf([one])), ...batchesOf(first).map(messageOf)]
}

function messageOf(due: readonly Due[]): Message {
  const events = due.map(({ event }) => event)
  const { id, place } = events[0]!
  return { kind: 'events', id: `${id}-${place}${events.length > 1 ? `-${events.length}` : ''}`, events }
}

function batchesOf(due: readonly Due[]): Due[][] {
  const batches: Due[][] = []
  let size = 0
  for (const one of due) {
    const batch = batches.at(-1)
    size += one.size
    if (batch && batch.length < MESSAGE.events && size <= MESSAGE.size) batch.push(one)
    else {
      batches.push([one])
      size = one.size
    }
  }
  return batches
}
