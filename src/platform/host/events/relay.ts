import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import { Sweep } from '../sweep.ts'
import { spanBelow } from '../tracing/tracer.ts'
import { within } from '../within.ts'
import type { Message, Transport } from './delivery.ts'
import { type Due, putOff, takeDue } from './outbox.ts'
import { FEW, MANY, sequence } from './sequence.ts'

/** What one message carries at most: events, and characters of their data. */
const MESSAGE = { events: 200, size: 500_000 }
/** How many batches may be on their way to the queue while the next one is taken, */
const UNDER_WAY = 2
/** and how long the next one waits for them, in milliseconds; after that it is left to who looks again. */
const PATIENCE = 1_000
/** How long a stop may take, in milliseconds. */
const STOPPING = 3_000
/**
 * Seconds until an unconfirmed delivery is sent again, for the first time. It is in the queue still, most probably, and
 * only a queue that was emptied needs this.
 */
const CONFIRMATION_DEADLINE = 30
/** Seconds until a delivery that could not be sent is tried again. */
const RETRY = 1
/** Milliseconds between looks into the outbox when nobody wakes the relay. */
const INTERVAL = 1_000

/**
 * Brings the events of one module from its outbox to the queues of their subscribers. Runs in every process that hosts the
 * module.
 */
export interface Relay {
  start(): void
  /** There is something new. */
  wake(): void
  /** Takes nothing more, and waits for what is on its way, at most 3 s. */
  stop(): Promise<void>
}

/** @param options.onOutside there is something new for systems outside; whatever becomes of the queue, they are told */
export function createRelay(
  module: string,
  options: { db: Sql; transport: Transport; log: FastifyBaseLogger; onOutside?: () => void },
): Relay {
  const { db, transport, log, onOutside } = options
  const underWay = new Set<Promise<unknown>>()
  /** Whether the queue took what it was sent last. */
  let isWell = true

  const isFree = async () => underWay.size < UNDER_WAY || (await within(PATIENCE, Promise.race(underWay)))

  const relayNew = inBatches(FEW, async (limit) => {
    const seconds = isWell && (await isFree()) ? CONFIRMATION_DEADLINE : 0
    const { events, due, outside } = await sequence(db, module, { limit, seconds })
    if (outside) onOutside?.()
    send(due)
    return events === limit
  })
  const relayAgain = inBatches(MANY, async (limit) => {
    if (!(await isFree())) return false
    const due = await takeDue(db, module, limit, CONFIRMATION_DEADLINE)
    send(due)
    return due.length === limit && isWell
  })

  const send = (due: readonly Due[]) => {
    const groups = Map.groupBy(due, ({ subscriber }) => subscriber)
    const sending: Promise<unknown> = Promise.all([...groups].map(([subscriber, group]) => sendTo(subscriber, group)))
    underWay.add(sending)
    void sending.then(() => underWay.delete(sending))
  }
  /** Never rejects: what cannot be sent is due again soon. */
  const sendTo = async (subscriber: string, group: readonly Due[]) => {
    const spans = group.map(({ event }) =>
      spanBelow(event.traceparent, `send ${event.name}`, 'producer', { 'seam.subscriber': subscriber }),
    )
    const below = group.map((one, index): Due => {
      const span = spans[index]
      return span ? { ...one, event: { ...one.event, traceparent: span.traceparent } } : one
    })
    try {
      await transport.send(subscriber, messagesOf(below))
      isWell = true
      for (const span of spans) span?.end()
    } catch (error) {
      isWell = false
      for (const span of spans) span?.end(error)
      log.warn({ err: error, subscriber }, 'events could not be sent and will be sent again')
      // If this fails too, they are due when their confirmation is.
      await putOff(db, group, RETRY).catch(() => {})
    }
  }

  const news = new Sweep({ name: `relay of ${module}`, interval: INTERVAL, log, run: relayNew })
  const again = new Sweep({ name: `relay of ${module}, again`, interval: INTERVAL, log, run: relayAgain })
  return {
    start() {
      news.start()
      again.start()
    },
    wake: () => news.wake(),
    async stop() {
      await within(
        STOPPING,
        Promise.all([news.stop(), again.stop()]).then(() => Promise.all(underWay)),
      )
    },
  }
}

/**
 * Works until there is no more to do, with growing batches; after a failure with half as many, since they may be too large to
 * be moved in the time that a statement has.
 */
function inBatches(first: number, work: (limit: number) => Promise<boolean>): () => Promise<void> {
  let limit = first
  return async () => {
    try {
      while (await work(limit)) limit = Math.min(2 * limit, MANY)
      limit = first
    } catch (error) {
      limit = Math.ceil(limit / 2)
      throw error
    }
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
