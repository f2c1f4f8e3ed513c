import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import pLimit from 'p-limit'
import type { ContractEvent } from '../../kit/contract.ts'
import type { Handling, ReceivedEvent } from '../../kit/module.ts'
import type { Database, Transaction } from '../../kit/tables.ts'
import { afterCommit } from '../data/after-commit.ts'
import { Durations } from '../ops/durations.ts'
import { RequestContext, requestIdOf } from '../request-context.ts'
import type { Delivery, DeliveryId, Transport } from './delivery.ts'
import type { HandlerStats } from './event-metrics.ts'
import { failureOf } from './failure.ts'
import {
  forget,
  isPast,
  keep,
  keepFailed,
  nextOf,
  putBack,
  type Turns,
  takeDue,
  takeTurns,
  type Waiting,
} from './inbox.ts'
import { isOutside } from './outside/outside.ts'
import { readEvent, reads } from './read-event.ts'

type Handle = (event: ReceivedEvent, handling: Handling) => Promise<void>

/** How long a handler may take, in milliseconds: 30 s. */
const HANDLER_TIMEOUT = 30_000
/** How often an event is tried before it is dead: over four minutes or more. */
const ATTEMPTS = 10
/** An event that no handler here knows is looked at once a minute, without end. */
const UNKNOWN = { seconds: 60, parked: true } as const
/** Events handled in one transaction at most, and taken from the inbox at a time. */
const BATCH = 200
/** How long the handlers of one transaction should take and may take together, in milliseconds. */
const TOGETHER = { expected: 250, limit: 2_000 }
/** Transactions at a time: half of the module's connections, requests have the rest. */
const CONCURRENCY = 5
/** How much of what a handler took before still counts for what it is expected to take. */
const MEMORY = 0.9
/** Confirmations are gathered for this long, in milliseconds; a lost one only has its event delivered once more. */
const CONFIRMATION_DELAY = 20

type Next = Parameters<typeof keepFailed>[3]
/** What a handler has asked to be done before the commit. */
type Last = Parameters<Handling['beforeCommit']>[0]
type Known = { event: ContractEvent; handle: Handle; milliseconds: number }

/** An event that a handler here can take. */
interface Sound extends Waiting {
  known: Known
  event: ReceivedEvent
}

/**
 * Handles the events of one subscribing module, those of one key in the order in which they were published. The effect and
 * the note that the event had its turn are committed together, so an event that is delivered again changes nothing. Then the
 * publisher is told.
 *
 * Events that come together share a transaction. When a handler throws there, or they take long, it is rolled back, and each
 * is handled in a transaction of its own: so one that fails has no part in what becomes of the others.
 *
 * The queue is done with an event as soon as it has had its effect or is in the inbox: whatever happens to it after that,
 * attempts and their pauses, its turn, its death, is in the module's database alone.
 */
export class Subscriber {
  readonly #module: string
  readonly #db: Database
  readonly #transport: Transport
  readonly #log: FastifyBaseLogger
  readonly #modules: ReadonlySet<string>
  readonly #attempts: number
  readonly #handlers = new Map<string, Known>()
  /** By the name of the event. */
  readonly stats = new Map<string, HandlerStats>()
  readonly #confirmed = new Map<string, DeliveryId[]>()
  readonly #inTurn = pLimit(CONCURRENCY)
  #timer: NodeJS.Timeout | undefined
  #flushing = Promise.resolve()

  /**
   * @param options.modules all that there are, wherever they run
   * @param options.attempts how often an event is tried before it is dead
   */
  constructor(
    module: string,
    options: {
      db: Database
      transport: Transport
      log: FastifyBaseLogger
      modules: ReadonlySet<string>
      attempts?: number | undefined
    },
  ) {
    this.#module = module
    this.#modules = options.modules
    this.#attempts = options.attempts ?? ATTEMPTS
    this.#db = options.db
    this.#transport = options.transport
    this.#log = options.log
  }

  on(event: ContractEvent, handle: Handle): void {
    this.#handlers.set(keyOf(event), { event, handle, milliseconds: 0 })
    this.stats.set(event.name, { handled: 0, failed: 0, milliseconds: 0, lag: new Durations() })
  }

  /**
   * Whether an event is of a kind that is known here, and yet of no module. Of a kind that is not known, it may be of a module
   * that the next release adds.
   */
  isForged(delivery: Delivery): boolean {
    return !this.#modules.has(delivery.publisher) && this.#handlerOf(delivery) !== undefined
  }

  /**
   * Handles events now, or keeps them in the inbox: until their turn comes, or for another attempt.
   *
   * @throws when the database cannot be used; what has not been handled then is delivered again
   */
  async receive(deliveries: readonly Delivery[]): Promise<void> {
    const arrived = new Map(
      deliveries.map((delivery) => [`${delivery.id} ${delivery.place}`, { delivery, attempts: 0 }]),
    )
    const early = await this.#take([...arrived.values()], false)
    // Whoever had the turn meanwhile may have looked for the next ones before these were kept.
    await this.#take(await keep(this.#db, early), true)
  }

  /** Handles what is due in the inbox, in batches, as long as that gets on. */
  async sweep(): Promise<void> {
    for (;;) {
      const due = await takeDue(this.#db, BATCH, HANDLER_TIMEOUT / 1000 + 5)
      if (due.length === 0) return
      const later = await this.#take(due, true)
      await putBack(this.#db, later)
      if (due.length < BATCH || later.length === due.length) return
    }
  }

  /** Tells the publisher that an event needs no more attention. */
  confirm({ publisher, id, place }: Pick<Delivery, 'publisher' | 'id' | 'place'>): void {
    // A system outside has been told already, and a queue that is of no module would be read by nobody.
    if (!this.#modules.has(publisher)) return
    const deliveries = this.#confirmed.get(publisher)
    if (deliveries) deliveries.push({ id, place })
    else this.#confirmed.set(publisher, [{ id, place }])
    this.#timer ??= setTimeout(() => void this.flush(), CONFIRMATION_DELAY).unref()
  }

  /** Sends the confirmations that are still being gathered, and waits for those on their way. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#flushing = this.#flushing.then(() => this.#sendConfirmations())
    return this.#flushing
  }

  async #sendConfirmations(): Promise<void> {
    const confirmed = [...this.#confirmed]
    this.#confirmed.clear()
    const send = async ([publisher, deliveries]: [string, DeliveryId[]]) => {
      const confirmation = { subscriber: this.#module, deliveries }
      try {
        await this.#transport.send(publisher, [{ kind: 'confirmation', id: randomUUID(), confirmation }])
      } catch (error) {
        const outcome = 'a confirmation was lost; its events will be delivered again and change nothing'
        this.#log.debug({ err: error, publisher }, outcome)
      }
    }
    await Promise.all(confirmed.map(send))
  }

  /**
   * Handles events, and those that have waited for them in the inbox.
   *
   * @returns those whose turn has not come
   */
  async #take(waiting: readonly Waiting[], kept: boolean): Promise<Waiting[]> {
    const later: Waiting[] = []
    const alone: Sound[] = []
    for (const batch of this.#batchesOf(await this.#sound(waiting))) {
      const turns = batch.length > 1 ? await this.#handleTogether(batch, kept) : 'failed'
      if (turns === 'failed') alone.push(...batch)
      else await this.#follow(await this.#settle(turns, kept, later))
    }
    await this.#handleAlone(alone, kept, later)
    return later
  }

  /** Handles what has waited in the inbox for events that have just been handled. */
  async #follow(handled: readonly Waiting[]): Promise<void> {
    if (handled.length > 0) await this.#take(await nextOf(this.#db, handled, BATCH), true)
  }

  /** Those that can be handled here; what becomes of the others is settled. */
  async #sound(waiting: readonly Waiting[]): Promise<Sound[]> {
    const sound: Sound[] = []
    for (const one of waiting) {
      const { delivery } = one
      const known = this.#handlerOf(delivery)
      if (!known) {
        const error = new Error(`The module "${this.#module}" has no handler for ${keyOf(delivery)}.`)
        // A process of the next version may know it; what comes from outside may be garbage, and nobody sends it again.
        await this.#refuse(one, error, isOutside(delivery.publisher) ? 'never' : UNKNOWN)
        continue
      }
      try {
        sound.push({ ...one, known, event: readEvent(known.event, delivery) })
      } catch (error) {
        await this.#refuse(one, error as Error, 'never')
      }
    }
    return sound
  }

  /** One that was given up may be delivered once more: its publisher has not heard of it. */
  async #refuse(one: Waiting, error: Error, next: Next): Promise<void> {
    if (isOutside(one.delivery.publisher) || !(await isPast(this.#db, one))) return this.#fail(one, error, next)
    await forget(this.#db, [one])
    this.confirm(one.delivery)
  }

  /** The handler of the same version, else of the first later one that reads it. */
  #handlerOf(delivery: Delivery): Known | undefined {
    const exact = this.#handlers.get(keyOf(delivery))
    if (exact) return exact
    return [...this.#handlers.values()]
      .filter(({ event }) => event.name === delivery.name && reads(event, delivery.version))
      .sort((a, b) => a.event.version - b.event.version)[0]
  }

  /** As many at a time as should not take long. What has failed before is by itself. */
  #batchesOf(waiting: readonly Sound[]): Sound[][] {
    const batches: Sound[][] = []
    let batch: Sound[] = []
    let expected = 0
    for (const one of waiting) {
      const { milliseconds } = one.known
      if (one.attempts > 0) {
        batches.push([one])
        continue
      }
      expected += milliseconds
      if (batch.length === 0 || batch.length === BATCH || expected > TOGETHER.expected) {
        batch = []
        batches.push(batch)
        expected = milliseconds
      }
      batch.push(one)
    }
    return batches
  }

  async #handleTogether(batch: readonly Sound[], kept: boolean): Promise<Turns | 'failed'> {
    let begun = false
    const handle = async (tx: Transaction) => {
      const turns = await takeTurns(tx, batch, kept)
      begun = true
      await this.#runAll(turns.mine, tx, TOGETHER.limit)
      return turns
    }
    try {
      return await this.#inTurn(async () => {
        // Its time is counted from here: it may have waited for others.
        const context = new RequestContext({ timeout: TOGETHER.limit })
        try {
          return await context.run(() => this.#db.transaction(handle))
        } finally {
          context.end()
        }
      })
    } catch (error) {
      if (begun) return 'failed'
      throw error
    }
  }

  /** Each in a transaction of its own, those of one key one after the other, the others at the same time. */
  async #handleAlone(alone: readonly Sound[], kept: boolean, later: Waiting[]): Promise<void> {
    let isBroken = false
    const handle = async (group: readonly Sound[]) => {
      const handled: Waiting[] = []
      for (const one of group)
        if (!isBroken) handled.push(...(await this.#settle(await this.#attempt(one, kept), kept, later)))
      return handled
    }
    const groups = Map.groupBy(alone, ({ delivery: { publisher, key, after, id } }) =>
      after === null ? id : `${publisher} ${key}`,
    )
    const each = [...groups.values()].map(async (group) => {
      try {
        await this.#follow(await this.#inTurn(() => handle(group)))
      } catch (error) {
        isBroken = true
        throw error
      }
    })
    const failed = (await Promise.allSettled(each)).find((settled) => settled.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** What fails is kept for another attempt, or is dead. */
  async #attempt(one: Sound, kept: boolean): Promise<Turns> {
    const { delivery } = one
    const context = contextOf(delivery, HANDLER_TIMEOUT)
    try {
      return await context.run(() =>
        this.#db.transaction(async (tx) => {
          const turns = await takeTurns(tx, [one], kept)
          await this.#runAll(turns.mine, tx, HANDLER_TIMEOUT)
          return turns
        }),
      )
    } catch (error) {
      this.stats.get(delivery.name)!.failed++
      const attempts = one.attempts + 1
      const pause = { seconds: pauseAfter(attempts) }
      await this.#fail(one, error as Error, attempts >= this.#attempts ? 'never' : pause)
      return { mine: [], past: [], later: [] }
    } finally {
      context.end()
    }
  }

  async #runAll(batch: readonly Sound[], tx: Transaction, timeout: number): Promise<void> {
    const last = new Set<Last>()
    for (const one of batch) await this.#run(one, tx, timeout, last)
    for (const run of last) await run(tx)
  }

  /** Runs the handler of an event in the context of the request in whose course it was published. */
  async #run({ delivery, known, event }: Sound, tx: Transaction, timeout: number, last: Set<Last>): Promise<void> {
    const context = contextOf(delivery, timeout)
    const span = context.begin(`handle ${delivery.name}`, 'consumer', { 'seam.module': this.#module })
    const late = Promise.withResolvers<never>()
    const clock = { expire: () => late.reject(new Error(`The handler took longer than ${timeout / 1000} s.`)) }
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

  /** @returns those that need no more attention */
  async #settle({ mine, past, later }: Turns, kept: boolean, all: Waiting[]): Promise<Waiting[]> {
    for (const { delivery } of mine) {
      const stats = this.stats.get(delivery.name)!
      stats.handled++
      stats.lag.add(Date.now() - Date.parse(delivery.occurredAt))
    }
    if (kept) await forget(this.#db, past)
    const handled = [...mine, ...past]
    for (const { delivery } of handled) this.confirm(delivery)
    all.push(...later)
    return handled
  }

  #safely(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#log.error({ err: error }, 'what was to follow the commit failed; the event has taken effect')
    }
  }

  async #fail({ delivery, attempts }: Waiting, error: Error, next: Next): Promise<void> {
    await keepFailed(this.#db, delivery, failureOf(error), next)
    const about = { err: error, event: delivery.id, name: delivery.name, key: delivery.key, attempt: attempts + 1 }
    if (next === 'never') this.#log.error(about, 'an event is dead, and holds back its key: see `seam events`')
    else this.#log.warn(about, 'an event could not be handled and will be tried again')
  }
}

/** Anybody may have written to the queue: ids are believed as far as those of requests from outside are. */
const contextOf = ({ requestId, traceparent }: Delivery, timeout: number): RequestContext =>
  new RequestContext({ requestId: requestIdOf(requestId ?? undefined), traceparent: traceparent ?? undefined, timeout })

/** Seconds until the next attempt: 1, 2, 4 … 256, less up to a half, so that what failed together does not come together. */
const pauseAfter = (attempts: number): number => Math.min(2 ** (attempts - 1), 256) * (1 - Math.random() / 2)

const keyOf = (event: { name: string; version: number }): string => `${event.name} v${event.version}`
