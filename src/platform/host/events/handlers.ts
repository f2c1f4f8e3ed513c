import type { FastifyBaseLogger } from 'fastify'
import type { ContractEvent } from '../../kit/contract.ts'
import type { Handling, ReceivedEvent } from '../../kit/module.ts'
import type { Transaction } from '../../kit/tables.ts'
import { afterCommit } from '../data/after-commit.ts'
import { Durations } from '../ops/durations.ts'
import { RequestContext, requestIdOf } from '../request-context.ts'
import { within } from '../within.ts'
import type { Delivery } from './delivery.ts'
import type { HandlerStats } from './event-metrics.ts'
import type { Waiting } from './inbox.ts'
import { reads } from './read-event.ts'

export type Handle = (event: ReceivedEvent, handling: Handling) => Promise<void>
/** A handler of a module; `milliseconds` is what it is expected to take. */
export type Known = { event: ContractEvent; handle: Handle; milliseconds: number }
/** What a handler has asked to be done before the commit. */
type Last = Parameters<Handling['beforeCommit']>[0]

/** An event that a handler here can take. */
export interface Sound extends Waiting {
  known: Known
  event: ReceivedEvent
}

/** How long something may take, and what is thrown when it takes longer. */
type Left = { milliseconds: number; late: () => Error }

/** How much of what a handler took before still counts for what it is expected to take. */
const MEMORY = 0.9

/** The handlers of one subscribing module: which one takes an event, how it is run, and what that took. */
export class Handlers {
  readonly #module: string
  readonly #log: FastifyBaseLogger
  readonly #known = new Map<string, Known>()
  /** By the name of the event. */
  readonly stats = new Map<string, HandlerStats>()

  constructor(module: string, log: FastifyBaseLogger) {
    this.#module = module
    this.#log = log
  }

  add(event: ContractEvent, handle: Handle): void {
    this.#known.set(keyOf(event), { event, handle, milliseconds: 0 })
    this.stats.set(event.name, { handled: 0, failed: 0, milliseconds: 0, lag: new Durations() })
  }

  /** The handler of the same version, else of the first later one that reads it. */
  of(delivery: Delivery): Known | undefined {
    const exact = this.#known.get(keyOf(delivery))
    if (exact) return exact
    return [...this.#known.values()]
      .filter(({ event }) => event.name === delivery.name && reads(event, delivery.version))
      .sort((a, b) => a.event.version - b.event.version)[0]
  }

  /**
   * Handles events one after the other in one transaction, then what their handlers want done before its commit.
   *
   * @param timeout what all of it may take, in milliseconds; nothing is begun after that
   * @throws what the first one throws that fails
   */
  async run(batch: readonly Sound[], tx: Transaction, timeout: number): Promise<void> {
    const end = performance.now() + timeout
    const left = (what: string): Left => {
      const late = () => new Error(`${what} took longer than ${timeout / 1000} s.`)
      const milliseconds = end - performance.now()
      if (milliseconds <= 0) throw late()
      return { milliseconds, late }
    }
    const last = new Set<Last>()
    for (const one of batch) await this.#handle(one, tx, left('The handler'), last)
    for (const run of last) {
      const { milliseconds, late } = left('What was to be done before the commit')
      if (!(await within(milliseconds, run(tx)))) throw late()
    }
  }

  /** Runs the handler of an event in the context of the request in whose course it was published. */
  async #handle({ delivery, known, event }: Sound, tx: Transaction, left: Left, last: Set<Last>): Promise<void> {
    const context = contextOf(delivery, left.milliseconds)
    const span = context.begin(`handle ${delivery.name}`, 'consumer', { 'seam.module': this.#module })
    const late = Promise.withResolvers<never>()
    const clock = { expire: () => late.reject(left.late()) }
    context.await(clock)
    const began = performance.now()
    try {
      const handling: Handling = {
        tx,
        beforeCommit: (run) => void last.add(run),
        afterCommit: (run) => afterCommit(tx, () => this.#safely(run)),
      }
      await context.run(() => Promise.race([known.handle(event, handling), late.promise]))
      span?.end()
    } catch (error) {
      span?.end(error)
      throw error
    } finally {
      context.forget(clock)
      context.end()
      const took = performance.now() - began
      this.stats.get(event.name)!.milliseconds += took
      known.milliseconds = MEMORY * known.milliseconds + (1 - MEMORY) * took
    }
  }

  #safely(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#log.error({ err: error }, 'what was to follow the commit failed; the event has taken effect')
    }
  }
}

/** Anybody may have written to the queue: ids are believed as far as those of requests from outside are. */
export const contextOf = ({ requestId, traceparent }: Delivery, timeout: number): RequestContext =>
  new RequestContext({ requestId: requestIdOf(requestId ?? undefined), traceparent: traceparent ?? undefined, timeout })

export const keyOf = (event: { name: string; version: number }): string => `${event.name} v${event.version}`
