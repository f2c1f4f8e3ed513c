import type { FastifyBaseLogger } from 'fastify'
import type { Sql } from 'postgres'
import { Durations } from '../../ops/durations.ts'
import { Sweep } from '../../sweep.ts'
import { spanBelow } from '../../tracing/tracer.ts'
import type { HandlerStats } from '../event-metrics.ts'
import { failureOf } from '../failure.ts'
import { confirm, type Due } from '../outbox.ts'
import { type Next, notAccepted, takeDueTo } from './handing-over.ts'
import { NotNow, NotYet, type Outside, PATIENCE } from './outside.ts'

/** Seconds for which an event that is being handed over belongs to the process that does so: longer than that can take. */
const LEASE = (2 * PATIENCE) / 1000
/** Seconds until an event is tried again that was not to blame. */
const REST = 5
/** Milliseconds between looks into the outbox when nobody wakes the relay. */
const INTERVAL = 1_000

/**
 * Hands the events of one module over to one system outside, each when those before it of its key have been accepted. Every
 * such system has a relay of its own, so none waits for another, nor any module for them. Runs in every process that hosts
 * the module.
 */
export class OutsideRelay {
  readonly outside: Outside
  readonly sweep: Sweep
  /** By the name of the event. */
  readonly stats = new Map<string, HandlerStats>()
  readonly #module: string
  readonly #db: Sql
  readonly #log: FastifyBaseLogger

  constructor(module: string, outside: Outside, { db, log }: { db: Sql; log: FastifyBaseLogger }) {
    this.outside = outside
    this.#module = module
    this.#db = db
    this.#log = log.child({ subscriber: outside.name })
    const name = `relay of ${module} to ${outside.name}`
    this.sweep = new Sweep({ name, interval: INTERVAL, log: this.#log, run: () => this.#run() })
    outside.onReady(() => this.sweep.wake())
  }

  async #run(): Promise<void> {
    const { name: subscriber, concurrency: limit } = this.outside
    while (this.outside.isReady()) {
      const taken = await takeDueTo(this.#db, { module: this.#module, subscriber, limit, seconds: LEASE })
      if (taken.length === 0) return
      const outcomes = await Promise.all(taken.map((one) => this.#handOver(one)))
      const accepted = taken.filter((_one, i) => outcomes[i] === 'accepted').map(({ event }) => event)
      if (accepted.length > 0) await confirm(this.#db, subscriber, accepted)
      for (const [i, next] of outcomes.entries())
        if (next !== 'accepted') await notAccepted(this.#db, subscriber, taken[i]!.event, next)
      if (outcomes.some((next) => next !== 'accepted' && next.kind === 'later')) return
    }
  }

  async #handOver({ event, attempts }: Pick<Due, 'event' | 'attempts'>): Promise<'accepted' | Next> {
    const stats = this.#statsOf(event.name)
    const began = performance.now()
    const subscriber = this.outside.name
    const span = spanBelow(event.traceparent, `hand over ${event.name}`, 'producer', { 'seam.subscriber': subscriber })
    const { traceparent } = span ?? event
    try {
      await this.outside.handOver({ ...event, traceparent })
      span?.end()
      stats.handled++
      stats.lag.add(Date.now() - Date.parse(event.occurredAt))
      return 'accepted'
    } catch (error) {
      stats.failed++
      span?.end(error)
      return this.#nextOf(error as Error, { event, attempts })
    } finally {
      stats.milliseconds += performance.now() - began
    }
  }

  #nextOf(error: Error, { event, attempts }: Pick<Due, 'event' | 'attempts'>): Next {
    const about = { err: error, event: event.id, name: event.name, key: event.key, attempt: attempts }
    if (error instanceof NotNow) {
      this.#log.warn(about, 'a system outside cannot be used; its events wait in the outbox')
      return { kind: 'later', seconds: REST }
    }
    const failure = failureOf(error)
    const pause = this.outside.pauses[attempts - 1]
    if (pause === undefined) {
      this.#log.error(about, 'an event was not accepted, is dead, and holds back its key: see `seam events`')
      return { kind: 'dead', failure }
    }
    this.#log.warn(about, 'an event was not accepted and will be tried again')
    const asked = error instanceof NotYet ? error.seconds : 0
    // Up to a quarter more, so that what failed together does not come together.
    return { kind: 'again', seconds: Math.max(pause, asked) * (1 + Math.random() / 4), failure }
  }

  #statsOf(event: string): HandlerStats {
    const known = this.stats.get(event) ?? { handled: 0, failed: 0, milliseconds: 0, lag: new Durations() }
    this.stats.set(event, known)
    return known
  }
}
