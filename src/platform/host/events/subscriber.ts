import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { ContractEvent } from '../../kit/contract.ts'
import type { Handling, ReceivedEvent } from '../../kit/module.ts'
import type { Database } from '../../kit/tables.ts'
import { RequestContext } from '../request-context.ts'
import type { Delivery, Transport } from './delivery.ts'
import type { HandlerStats } from './event-metrics.ts'
import { forget, keep, keepFailed, nextOf, putBack, type Turn, takeDue, takeTurn, type Waiting } from './inbox.ts'
import { isOutside } from './outside/outside.ts'
import { readEvent, reads } from './read-event.ts'

type Handle = (event: ReceivedEvent, handling: Handling) => Promise<void>

/** How long a handler may take, in milliseconds: 30 s. */
const HANDLER_TIMEOUT = 30_000
/** How often an event is tried before it is dead: over four minutes or more. */
const ATTEMPTS = 10
/** An event that no handler here knows is looked at once a minute, without end. */
const UNKNOWN = { seconds: 60, counts: false }
/** Events taken from the inbox at a time. */
const BATCH = 20
/** How much is kept of a stack, in characters. */
const STACK = 4_000
/** Confirmations are gathered for this long, in milliseconds; a lost one only has its event delivered once more. */
const CONFIRMATION_DELAY = 20

/**
 * Handles the events of one subscribing module, those of one key in the order in which they were published. The effect and
 * the note that the event had its turn are committed together, so an event that is delivered again changes nothing. Then the
 * publisher is told.
 *
 * The queue is done with an event as soon as it has had its effect or is in the inbox: whatever happens to it after that,
 * attempts and their pauses, its turn, its death, is in the module's database alone.
 */
export class Subscriber {
  readonly #module: string
  readonly #db: Database
  readonly #transport: Transport
  readonly #log: FastifyBaseLogger
  readonly #attempts: number
  readonly #handlers = new Map<string, { event: ContractEvent; handle: Handle }>()
  /** By the name of the event. */
  readonly stats = new Map<string, HandlerStats>()
  readonly #confirmed = new Map<string, string[]>()
  #timer: NodeJS.Timeout | undefined
  #flushing = Promise.resolve()

  /** @param options.attempts how often an event is tried before it is dead */
  constructor(
    module: string,
    options: { db: Database; transport: Transport; log: FastifyBaseLogger; attempts?: number | undefined },
  ) {
    this.#module = module
    this.#attempts = options.attempts ?? ATTEMPTS
    this.#db = options.db
    this.#transport = options.transport
    this.#log = options.log
  }

  on(event: ContractEvent, handle: Handle): void {
    this.#handlers.set(keyOf(event), { event, handle })
    this.stats.set(event.name, { handled: 0, failed: 0, milliseconds: 0 })
  }

  /**
   * Handles an event now, or keeps it in the inbox: until its turn comes, or for another attempt.
   *
   * @throws when the database cannot be used; nothing has been changed then
   */
  async receive(delivery: Delivery): Promise<void> {
    if ((await this.#take({ delivery, attempts: 0 }, false)) === 'done') return
    // Whoever had the turn meanwhile may have looked for the next one before this one was kept.
    if (await keep(this.#db, delivery)) await this.#take({ delivery, attempts: 0 }, true)
  }

  /** Handles what is due in the inbox, in batches, as long as that gets on. */
  async sweep(): Promise<void> {
    for (;;) {
      const due = await takeDue(this.#db, BATCH, HANDLER_TIMEOUT / 1000 + 5)
      if (due.length === 0) return
      const byKey = Map.groupBy(due, ({ delivery }) => `${delivery.publisher} ${delivery.key}`)
      let later = 0
      const each = [...byKey.values()].map(async (group) => {
        for (const waiting of group) {
          if ((await this.#take(waiting, true)) === 'done') continue
          await putBack(this.#db, waiting.delivery)
          later++
        }
      })
      const failed = (await Promise.allSettled(each)).find((outcome) => outcome.status === 'rejected')
      if (failed) throw failed.reason
      if (due.length < BATCH || later === due.length) return
    }
  }

  /** Tells the publisher that an event needs no more attention. */
  confirm({ publisher, id }: Pick<Delivery, 'publisher' | 'id'>): void {
    // A queue of somebody else's has been told already.
    if (isOutside(publisher)) return
    const ids = this.#confirmed.get(publisher)
    if (ids) ids.push(id)
    else this.#confirmed.set(publisher, [id])
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
    const send = async ([publisher, eventIds]: [string, string[]]) => {
      const confirmation = { subscriber: this.#module, eventIds }
      try {
        await this.#transport.send(publisher, [{ kind: 'confirmation', id: randomUUID(), confirmation }])
      } catch (error) {
        const outcome = 'a confirmation was lost; its events will be delivered again and change nothing'
        this.#log.debug({ err: error, publisher }, outcome)
      }
    }
    await Promise.all(confirmed.map(send))
  }

  /** Handles an event and those of its key that have waited for it, one after the other. */
  async #take(first: Waiting, kept: boolean): Promise<'later' | 'done'> {
    let outcome = await this.#attempt(first, kept)
    if (outcome === 'later') return 'later'
    for (let last = first; outcome === 'handled'; ) {
      this.confirm(last.delivery)
      const next = await nextOf(this.#db, last.delivery)
      if (!next) break
      outcome = await this.#attempt(next, true)
      last = next
    }
    return 'done'
  }

  /** @returns `failed` when it is kept for another attempt, or is dead */
  async #attempt(waiting: Waiting, kept: boolean): Promise<'handled' | 'later' | 'failed'> {
    const { delivery } = waiting
    const known = this.#handlerOf(delivery)
    if (!known) {
      // A process of the next version may know it.
      await this.#fail(
        waiting,
        new Error(`The module "${this.#module}" has no handler for ${keyOf(delivery)}.`),
        // Nobody sends it again, and it may be garbage.
        isOutside(delivery.publisher) ? 'never' : UNKNOWN,
      )
      return 'failed'
    }
    let event: ReceivedEvent
    try {
      event = readEvent(known.event, delivery)
    } catch (error) {
      await this.#fail(waiting, error as Error, 'never')
      return 'failed'
    }
    const context = new RequestContext({
      requestId: delivery.requestId ?? undefined,
      traceparent: delivery.traceparent ?? undefined,
      timeout: HANDLER_TIMEOUT,
    })
    const stats = this.stats.get(delivery.name)!
    const began = performance.now()
    try {
      const turn = await context.run(() => this.#handleOnce(event, delivery, kept, known.handle, context))
      if (turn === 'past' && kept) await forget(this.#db, delivery)
      if (turn === 'mine') stats.handled++
      return turn === 'later' ? 'later' : 'handled'
    } catch (error) {
      stats.failed++
      const attempts = waiting.attempts + 1
      const pause = { seconds: pauseAfter(attempts), counts: true }
      await this.#fail(waiting, error as Error, attempts >= this.#attempts ? 'never' : pause)
      return 'failed'
    } finally {
      stats.milliseconds += performance.now() - began
      context.end()
    }
  }

  /** The handler of the same version, else of the first later one that reads it. */
  #handlerOf(delivery: Delivery): { event: ContractEvent; handle: Handle } | undefined {
    const exact = this.#handlers.get(keyOf(delivery))
    if (exact) return exact
    return [...this.#handlers.values()]
      .filter(({ event }) => event.name === delivery.name && reads(event, delivery.version))
      .sort((a, b) => a.event.version - b.event.version)[0]
  }

  async #handleOnce(
    event: ReceivedEvent,
    delivery: Delivery,
    kept: boolean,
    handle: Handle,
    context: RequestContext,
  ): Promise<Turn> {
    const after: (() => void)[] = []
    const turn = await this.#db.transaction(async (tx) => {
      const turn = await takeTurn(tx, delivery, kept)
      if (turn !== 'mine') return turn
      const late = Promise.withResolvers<never>()
      context.await({
        expire: () => late.reject(new Error(`The handler took longer than ${HANDLER_TIMEOUT / 1000} s.`)),
      })
      await Promise.race([handle(event, { tx, afterCommit: (run) => void after.push(run) }), late.promise])
      return turn
    })
    for (const run of after) {
      try {
        run()
      } catch (error) {
        this.#log.error(
          { err: error, event: delivery.id },
          'what was to follow the commit failed; the event has taken effect',
        )
      }
    }
    return turn
  }

  async #fail({ delivery, attempts }: Waiting, error: Error, next: Parameters<typeof keepFailed>[3]): Promise<void> {
    const failure = { at: new Date().toISOString(), message: error.message, stack: (error.stack ?? '').slice(0, STACK) }
    await keepFailed(this.#db, delivery, failure, next)
    const about = { err: error, event: delivery.id, name: delivery.name, key: delivery.key, attempt: attempts + 1 }
    if (next === 'never') this.#log.error(about, 'an event is dead, and holds back its key: see `seam events`')
    else this.#log.warn(about, 'an event could not be handled and will be tried again')
  }
}

/** Seconds until the next attempt: 1, 2, 4 … 256, less up to a half, so that what failed together does not come together. */
const pauseAfter = (attempts: number): number => Math.min(2 ** (attempts - 1), 256) * (1 - Math.random() / 2)

const keyOf = (event: { name: string; version: number }): string => `${event.name} v${event.version}`
