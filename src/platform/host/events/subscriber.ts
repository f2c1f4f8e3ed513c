import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { ContractEvent } from '../../kit/contract.ts'
import type { Handling, ReceivedEvent } from '../../kit/module.ts'
import { type Database, sql } from '../../kit/tables.ts'
import { codecOf, deepFreeze } from '../codec.ts'
import { RequestContext } from '../request-context.ts'
import type { Delivery, Transport } from './delivery.ts'

type Handle = (event: ReceivedEvent, handling: Handling) => Promise<void>

/** How long a handler may take, in milliseconds: 30 s. */
const HANDLER_TIMEOUT = 30_000
/** Confirmations are gathered for this long, in milliseconds; a lost one only has its event delivered once more. */
const CONFIRMATION_DELAY = 20

/**
 * Handles the events of one subscribing module: effect and inbox row are committed together, so an event that is
 * delivered again changes nothing. Then the publisher is told.
 */
export class Subscriber {
  readonly #module: string
  readonly #db: Database
  readonly #transport: Transport
  readonly #log: FastifyBaseLogger
  readonly #handlers = new Map<string, { event: ContractEvent; handle: Handle }>()
  readonly #confirmed = new Map<string, string[]>()
  #timer: NodeJS.Timeout | undefined
  #flushing = Promise.resolve()

  constructor(module: string, options: { db: Database; transport: Transport; log: FastifyBaseLogger }) {
    this.#module = module
    this.#db = options.db
    this.#transport = options.transport
    this.#log = options.log
  }

  on(event: ContractEvent, handle: Handle): void {
    this.#handlers.set(keyOf(event), { event, handle })
  }

  /** @throws whatever the handler throws; nothing has been changed then */
  async receive(delivery: Delivery): Promise<void> {
    const known = this.#handlers.get(keyOf(delivery))
    if (!known) throw new Error(`The module "${this.#module}" has no handler for ${keyOf(delivery)}.`)
    const faults = codecOf(known.event.data).faults(delivery.data)
    if (faults.length > 0) {
      throw new Error(
        `${keyOf(delivery)} is not what its contract says: ${faults.map(({ path, message }) => `${path} ${message}`).join(', ')}`,
      )
    }
    const context = new RequestContext({
      requestId: delivery.requestId ?? undefined,
      traceparent: delivery.traceparent ?? undefined,
      timeout: HANDLER_TIMEOUT,
    })
    try {
      await context.run(() => this.#handleOnce(delivery, known.handle, context))
    } finally {
      context.end()
    }
    this.#confirm(delivery)
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

  async #handleOnce(delivery: Delivery, handle: Handle, context: RequestContext): Promise<void> {
    const after: (() => void)[] = []
    await this.#db.transaction(async (tx) => {
      const fresh = await tx.execute(sql`
        insert into inbox (event_id, publisher, name, key, sequence)
        values (${delivery.id}::uuid, ${delivery.publisher}, ${delivery.name}, ${delivery.key}, ${delivery.sequence})
        on conflict do nothing returning 1`)
      if (fresh.length === 0) return
      const { id, name, version, key, sequence, occurredAt, data } = delivery
      const event = { id, name, version, key, sequence, occurredAt, data: deepFreeze(data) }
      const late = Promise.withResolvers<never>()
      context.await({
        expire: () => late.reject(new Error(`The handler took longer than ${HANDLER_TIMEOUT / 1000} s.`)),
      })
      await Promise.race([handle(event, { tx, afterCommit: (run) => void after.push(run) }), late.promise])
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
  }

  #confirm({ publisher, id }: Delivery): void {
    const ids = this.#confirmed.get(publisher)
    if (ids) ids.push(id)
    else this.#confirmed.set(publisher, [id])
    this.#timer ??= setTimeout(() => void this.flush(), CONFIRMATION_DELAY).unref()
  }
}

const keyOf = (event: { name: string; version: number }): string => `${event.name} v${event.version}`
