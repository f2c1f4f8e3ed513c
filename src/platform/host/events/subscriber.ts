import type { FastifyBaseLogger } from 'fastify'
import pLimit from 'p-limit'
import type { ContractEvent } from '../../kit/contract.ts'
import type { Database, Transaction } from '../../kit/tables.ts'
import { RequestContext } from '../request-context.ts'
import { within } from '../within.ts'
import { Confirmations } from './confirmations.ts'
import type { Delivery, Transport } from './delivery.ts'
import type { HandlerStats } from './event-metrics.ts'
import { failureOf } from './failure.ts'
import { contextOf, type Handle, Handlers, keyOf, type Sound } from './handlers.ts'
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
import { readEvent } from './read-event.ts'

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
/** How long a sweep waits for what it took before it looks further, in milliseconds. */
const PATIENCE = 1_000

type Next = Parameters<typeof keepFailed>[3]

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
  readonly #log: FastifyBaseLogger
  readonly #modules: ReadonlySet<string>
  readonly #attempts: number
  readonly #handlers: Handlers
  readonly #confirmations: Confirmations
  readonly #inTurn = pLimit(CONCURRENCY)
  /** What sweeps have taken and is not done: as many at most as there are transactions at a time. */
  readonly #swept = new Set<Promise<number>>()

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
    this.#log = options.log
    this.#handlers = new Handlers(module, options.log)
    this.#confirmations = new Confirmations(module, options)
  }

  on(event: ContractEvent, handle: Handle): void {
    this.#handlers.add(event, handle)
  }

  /** By the name of the event. */
  get stats(): ReadonlyMap<string, HandlerStats> {
    return this.#handlers.stats
  }

  /**
   * Whether an event is of a kind that is known here, and yet of no module. Of a kind that is not known, it may be of a module
   * that the next release adds.
   */
  isForged(delivery: Delivery): boolean {
    return !this.#modules.has(delivery.publisher) && this.#handlers.of(delivery) !== undefined
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
    await this.#take([...arrived.values()], false)
  }

  /**
   * Handles what is due in the inbox, in batches, as long as that gets on. What takes long goes on in the background, so that a
   * handler that hangs keeps nothing of other keys waiting.
   */
  async sweep(): Promise<void> {
    while (this.#mayTakeMore()) {
      const due = await takeDue(this.#db, BATCH, HANDLER_TIMEOUT / 1000 + 5)
      if (due.length === 0) return
      const later = await this.#inTime(this.#take(due, true))
      if (due.length < BATCH || later === due.length) return
    }
  }

  /** Always when nothing goes on in the background: all transactions may be taken by what arrives, without end. */
  #mayTakeMore(): boolean {
    const { size } = this.#swept
    return size === 0 || (size < CONCURRENCY && this.#inTurn.activeCount < CONCURRENCY)
  }

  /** Waits for what sweeps have left in the background. */
  async rest(): Promise<void> {
    await Promise.allSettled(this.#swept)
  }

  /** Tells the publisher that an event needs no more attention. */
  confirm(delivery: Pick<Delivery, 'publisher' | 'id' | 'place'>): void {
    this.#confirmations.add(delivery)
  }

  /** Sends the confirmations that are still being gathered, and waits for those on their way. */
  flush(): Promise<void> {
    return this.#confirmations.flush()
  }

  /**
   * Waits for what a sweep has taken, but not long.
   *
   * @returns how many have to wait; `undefined` when the others are not done yet
   * @throws what went wrong in time; later it is logged
   */
  async #inTime(taken: Promise<number>): Promise<number | undefined> {
    this.#swept.add(taken)
    const done = () => this.#swept.delete(taken)
    taken.then(done, done)
    if (await within(PATIENCE, taken)) return taken
    taken.catch((err) =>
      this.#log.warn({ err }, 'what was due in the inbox could not be handled and will be taken again'),
    )
    return undefined
  }

  /**
   * Handles events, and those that have waited for them in the inbox.
   *
   * @returns how many of them have to wait, since their turn has not come
   */
  async #take(waiting: readonly Waiting[], kept: boolean): Promise<number> {
    let later = 0
    const alone: Sound[] = []
    for (const batch of this.#batchesOf(await this.#sound(waiting))) {
      const turns = batch.length > 1 ? await this.#handleTogether(batch, kept) : 'failed'
      if (turns === 'failed') alone.push(...batch)
      else later += await this.#goOn(await this.#settle(turns, kept), turns.later, kept)
    }
    return later + (await this.#handleAlone(alone, kept))
  }

  /**
   * Has those wait in the inbox whose turn has not come: at once, for what came with them may take long. Then handles what has
   * waited there for those that have just been handled.
   *
   * @returns how many have to wait
   */
  async #goOn(handled: readonly Waiting[], later: readonly Waiting[], kept: boolean): Promise<number> {
    if (kept) await putBack(this.#db, later)
    // Whoever had the turn meanwhile may have looked for the next ones before these were kept.
    else if (later.length > 0) await this.#take(await keep(this.#db, later), true)
    if (handled.length > 0) await this.#take(await nextOf(this.#db, handled, BATCH), true)
    return later.length
  }

  /** Those that can be handled here; what becomes of the others is settled. */
  async #sound(waiting: readonly Waiting[]): Promise<Sound[]> {
    const sound: Sound[] = []
    for (const one of waiting) {
      const { delivery } = one
      const known = this.#handlers.of(delivery)
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
      await this.#handlers.run(turns.mine, tx, TOGETHER.limit)
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

  /**
   * Each in a transaction of its own, those of one key one after the other, the others at the same time.
   *
   * @returns how many have to wait
   */
  async #handleAlone(alone: readonly Sound[], kept: boolean): Promise<number> {
    let isBroken = false
    const handle = async (group: readonly Sound[]) => {
      const handled: Waiting[] = []
      const later: Waiting[] = []
      for (const one of group) {
        if (isBroken) break
        const turns = await this.#attempt(one, kept)
        handled.push(...(await this.#settle(turns, kept)))
        later.push(...turns.later)
      }
      return { handled, later }
    }
    const groups = Map.groupBy(alone, ({ delivery: { publisher, key, after, id } }) =>
      after === null ? id : `${publisher} ${key}`,
    )
    const each = [...groups.values()].map(async (group) => {
      try {
        const { handled, later } = await this.#inTurn(() => handle(group))
        return await this.#goOn(handled, later, kept)
      } catch (error) {
        isBroken = true
        throw error
      }
    })
    let later = 0
    let failed: PromiseRejectedResult | undefined
    for (const settled of await Promise.allSettled(each))
      if (settled.status === 'fulfilled') later += settled.value
      else failed ??= settled
    if (failed) throw failed.reason
    return later
  }

  /** What fails is kept for another attempt, or is dead. */
  async #attempt(one: Sound, kept: boolean): Promise<Turns> {
    const { delivery } = one
    const context = contextOf(delivery, HANDLER_TIMEOUT)
    try {
      return await context.run(() =>
        this.#db.transaction(async (tx) => {
          const turns = await takeTurns(tx, [one], kept)
          await this.#handlers.run(turns.mine, tx, HANDLER_TIMEOUT)
          return turns
        }),
      )
    } catch (error) {
      this.#handlers.stats.get(delivery.name)!.failed++
      const attempts = one.attempts + 1
      const pause = { seconds: pauseAfter(attempts) }
      await this.#fail(one, error as Error, attempts >= this.#attempts ? 'never' : pause)
      return { mine: [], past: [], later: [] }
    } finally {
      context.end()
    }
  }

  /** @returns those that need no more attention */
  async #settle({ mine, past }: Turns, kept: boolean): Promise<Waiting[]> {
    for (const { delivery } of mine) {
      const stats = this.#handlers.stats.get(delivery.name)!
      stats.handled++
      stats.lag.add(Date.now() - Date.parse(delivery.occurredAt))
    }
    if (kept) await forget(this.#db, past)
    const handled = [...mine, ...past]
    for (const { delivery } of handled) this.confirm(delivery)
    return handled
  }

  async #fail({ delivery, attempts }: Waiting, error: Error, next: Next): Promise<void> {
    await keepFailed(this.#db, delivery, failureOf(error), next)
    const about = { err: error, event: delivery.id, name: delivery.name, key: delivery.key, attempt: attempts + 1 }
    if (next === 'never') this.#log.error(about, 'an event is dead, and holds back its key: see `seam events`')
    else this.#log.warn(about, 'an event could not be handled and will be tried again')
  }
}

/** Seconds until the next attempt: 1, 2, 4 … 256, less up to a half, so that what failed together does not come together. */
const pauseAfter = (attempts: number): number => Math.min(2 ** (attempts - 1), 256) * (1 - Math.random() / 2)
