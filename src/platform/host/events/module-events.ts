import type { FastifyBaseLogger } from 'fastify'
import type { ContractEvent, EventType } from '../../kit/contract.ts'
import { isExternal } from '../../kit/external.ts'
import type { Manifest } from '../../kit/module.ts'
import type { SQLWrapper, Transaction } from '../../kit/tables.ts'
import { afterCommit } from '../data/after-commit.ts'
import type { ModuleDatabase } from '../data/databases.ts'
import type { Placement } from '../placement.ts'
import { Sweep } from '../sweep.ts'
import { within } from '../within.ts'
import type { Delivery, Receiver, Transport } from './delivery.ts'
import type { EventsOf } from './event-metrics.ts'
import type { HandledEventsOf, StuckEventsOf } from './events-task.ts'
import type { Handle } from './handlers.ts'
import { giveHistory, replay, type Subscribed } from './history.ts'
import { pruneDone } from './inbox.ts'
import { confirm, prune, publish, publishWith } from './outbox.ts'
import { deadDeliveries } from './outside/dead-deliveries.ts'
import { Listening } from './outside/listening.ts'
import type { Outside } from './outside/outside.ts'
import { OutsideRelay } from './outside/outside-relay.ts'
import { readMessage } from './read-message.ts'
import { createRelay, type Relay } from './relay.ts'
import { discard, redrive, stuckEvents } from './stuck-events.ts'
import { Subscriber } from './subscriber.ts'
import { keepUnreadable } from './unreadable.ts'

/** Milliseconds between looks into the inbox for what is due. */
const INBOX = 1_000
/** How long what is handled from the inbox may take to end when the process does, in milliseconds. */
const REST = 3_000
/** Old events are removed so many at a time, once in so many milliseconds, and at once again while there are more. */
const PRUNING = { most: 1_000, every: 60_000 }

/**
 * How long notes of events without order are kept at least, in seconds: a day. They alone tell a delivery that comes once more,
 * because its confirmation was lost or the queue stood still, from a new one.
 */
const NOTES_KEPT = 86_400

/** What the events of a module need of the host. */
export interface EventSurroundings {
  readonly placement: Placement
  readonly transport: Transport
  /** The systems outside that events are also handed to. */
  readonly outside: readonly Outside[]
  /** RabbitMQ, for modules that subscribe to events of other systems. */
  readonly amqpUrl: string | undefined
  /** Seconds that events are kept after all have confirmed them. */
  readonly eventsRetention: number
  /** How often an event is tried before it is dead (default: as {@link Subscriber} has it). */
  readonly eventAttempts?: number
}

/**
 * The events of one module that is hosted here: those that it publishes, until all who are told of them have confirmed, and
 * those that it handles. Everything that moves them, put together.
 */
export class ModuleEvents {
  readonly #manifest: Manifest
  readonly #name: string
  readonly #database: ModuleDatabase
  readonly #placement: Placement
  readonly #transport: Transport
  readonly #log: FastifyBaseLogger
  readonly #subscriber: Subscriber
  readonly #relay: Relay
  readonly #outside: readonly OutsideRelay[]
  readonly #listening: Listening
  readonly #inbox: Sweep
  readonly #pruning: Sweep
  #receiver: Receiver | undefined

  constructor(
    manifest: Manifest,
    options: EventSurroundings & { readonly database: ModuleDatabase; readonly log: FastifyBaseLogger },
  ) {
    const { name } = manifest.contract
    const { database, placement, transport, log, eventsRetention } = options
    const { db, sql } = database
    this.#manifest = manifest
    this.#name = name
    this.#database = database
    this.#placement = placement
    this.#transport = transport
    this.#log = log
    this.#subscriber = new Subscriber(name, {
      db,
      transport,
      log,
      modules: new Set(placement.all.map(({ contract }) => contract.name)),
      attempts: options.eventAttempts,
    })
    this.#inbox = new Sweep({ name: `inbox of ${name}`, interval: INBOX, log, run: () => this.#subscriber.sweep() })
    this.#pruning = new Sweep({
      name: `pruning of ${name}`,
      interval: PRUNING.every,
      log,
      run: async () => {
        const gone = [
          await prune(sql, eventsRetention, PRUNING.most),
          await pruneDone(db, Math.max(eventsRetention, NOTES_KEPT), PRUNING.most),
        ]
        if (gone.includes(PRUNING.most)) this.#pruning.wake()
      },
    })
    this.#outside = options.outside.map((outside) => new OutsideRelay(name, outside, { db: sql, log }))
    const onOutside = () => this.#outside.forEach(({ sweep }) => void sweep.wake())
    this.#relay = createRelay(name, { db: sql, transport, log, onOutside })
    const external = manifest.subscribes.filter(isExternal)
    this.#listening = new Listening(external, { url: options.amqpUrl, db, subscriber: this.#subscriber, log })
  }

  /** Has an event handled from now on. */
  handle(event: ContractEvent, handle: Handle): void {
    this.#subscriber.on(event, handle)
  }

  /** See `ModuleServices.publish`. */
  async publish(tx: Transaction, event: EventType, data: unknown): Promise<void> {
    await publish(tx, event as ContractEvent, data, this.#subscribersOf(event))
    afterCommit(tx, () => this.#relay.wake())
  }

  /** See `ModuleServices.publishWith`. */
  async publishWith(write: SQLWrapper, event: EventType, data: unknown): Promise<Record<string, unknown>[]> {
    const { db } = this.#database
    const rows = await publishWith(db, write, event as ContractEvent, data, this.#subscribersOf(event))
    this.#relay.wake()
    return rows
  }

  /** What metrics say of them. */
  get measured(): EventsOf {
    return {
      name: this.#name,
      sql: this.#database.sql,
      handlers: this.#subscriber.stats,
      queue: this.#transport,
      outside: this.#outside.map(({ outside, stats }) => ({ name: outside.name, handlers: stats })),
    }
  }

  /** What operators can do about events that the module could not handle, and about those that it has published. */
  get handled(): HandledEventsOf {
    const { db } = this.#database
    return {
      name: this.#name,
      stuckEvents: (options) => stuckEvents(db, options),
      redrive: (id) => redrive(db, id),
      discard: async (id) => {
        const given = await discard(db, id)
        if (given) this.#subscriber.confirm(given)
        await this.#subscriber.flush()
        return given !== undefined
      },
      replay: async (to, since) => {
        const subscribed = this.#subscribed.filter(({ subscriber }) => subscriber.name === to)
        return subscribed.length > 0 ? replay(this.#database, this.#name, subscribed, since) : undefined
      },
    }
  }

  /** What operators can do about those that systems outside have not accepted. */
  get deadDeliveries(): StuckEventsOf[] {
    return this.#outside.map(({ outside }) => deadDeliveries(this.#database.sql, this.#name, outside.name))
  }

  /** New subscribers get their history: to be done before there is more of it. */
  async prepare(): Promise<void> {
    await giveHistory(this.#database, this.#name, this.#subscribed)
  }

  async start(): Promise<void> {
    this.#receiver = await this.#transport.receive(this.#name, (message) => this.#receive(message))
    for (const sweep of this.#sweeps) sweep.start()
    await this.#listening.start()
  }

  /** Ends what is under way; systems outside are still being told. */
  async stop(): Promise<void> {
    await Promise.all([
      this.#receiver?.stop(),
      this.#listening.stop(),
      ...this.#sweeps.map((sweep) => sweep.stop()),
      within(
        REST,
        this.#inbox.stop().then(() => this.#subscriber.rest()),
      ),
    ])
    await this.#subscriber.flush()
  }

  /** To be done when systems outside have been closed: what was cut off there is noted first. */
  async close(): Promise<void> {
    await Promise.all(this.#outside.map(({ sweep }) => sweep.stop()))
  }

  async #receive(message: unknown): Promise<void> {
    const { db, sql } = this.#database
    const isForged = (event: Delivery) => this.#subscriber.isForged(event)
    const { events, confirmation, garbage } = readMessage(this.#name, message, isForged)
    if (events.length > 0) await this.#subscriber.receive(events)
    if (confirmation) await confirm(sql, confirmation.subscriber, confirmation.deliveries)
    for (const { event, fault } of garbage) await keepUnreadable(event, fault, { db, log: this.#log })
  }

  /** The module's own events, each with those who are told of it. */
  get #subscribed(): Subscribed[] {
    return Object.values(this.#manifest.contract.events).flatMap((event) =>
      this.#subscribersOf(event).map((subscriber) => ({ event: event.name, subscriber })),
    )
  }

  #subscribersOf(event: EventType): Subscribed['subscriber'][] {
    const outside = this.#outside.filter(({ outside }) => outside.wants(event.name))
    return [...this.#placement.subscribersOf(event), ...outside.map(({ outside: { name } }) => ({ name }))]
  }

  get #sweeps(): Pick<Sweep, 'start' | 'stop'>[] {
    return [this.#relay, ...this.#outside.map(({ sweep }) => sweep), this.#inbox, this.#pruning]
  }
}
