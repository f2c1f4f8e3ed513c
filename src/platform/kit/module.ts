import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest, RawServerDefault } from 'fastify'
import type { Static, TObject } from 'typebox'
import type { CallContext } from './call-context.ts'
import type { Client, Contract, ContractEvent, EventType, Implementation } from './contract.ts'
import type { Cursors } from './pages.ts'
import type { Handling, ReceivedEvent } from './received-event.ts'
import type { ModuleSessions } from './sessions.ts'
import type { Subscription, SubscriptionOptions } from './subscription.ts'
import type { Database, SQLWrapper, Transaction } from './tables.ts'
import type { Task } from './task.ts'

export { subscription } from './subscription.ts'

export type { Handling, ReceivedEvent, Subscription, SubscriptionOptions, Task }

/** What the platform must know of a module before it loads it. Made by {@link defineModule}. */
export interface Manifest<C extends Contract = Contract, S extends TObject = TObject> {
  readonly contract: C
  /** Contracts of the modules that this one may call. */
  readonly uses: readonly Contract[]
  /** Events that this module handles. */
  readonly subscribes: readonly ContractEvent[]
  /** How it takes those of them that it does not take in the ordinary way. */
  readonly subscriptions: ReadonlyMap<ContractEvent, SubscriptionOptions>
  /** Environment variables of the module's own; each property is one, with `description` and `examples`. */
  readonly settings: S | undefined
  /** Whether its routes start and end sessions ({@link ModuleServices.sessions}). */
  readonly signsIn: boolean
  readonly plugin: () => Promise<{ default: ModulePlugin<C, S> }>
}

/** The function that a module's `plugin.ts` exports by default: it builds the module on the instance it is given. */
export type ModulePlugin<C extends Contract = Contract, S extends TObject = TObject> = (
  app: ModuleApp<C, S>,
) => Promise<void> | void

/**
 * Declares a module. Importing the manifest must stay cheap: the implementation is loaded by `plugin`, and only in a
 * process that hosts the module.
 *
 * @example
 * export default defineModule(posts, {
 *   uses: [users],
 *   subscribes: [users.events.userCreated],
 *   plugin: () => import('./plugin.ts'),
 * })
 */
export function defineModule<C extends Contract, S extends TObject = TObject>(
  contract: C,
  parts: {
    uses?: readonly Contract[]
    subscribes?: readonly (ContractEvent | Subscription)[]
    settings?: S
    signsIn?: boolean
    plugin: () => Promise<{ default: ModulePlugin<C, S> }>
  },
): Manifest<C, S> {
  const subscribes = (parts.subscribes ?? []).map(subscriptionOf)
  return {
    uses: [],
    settings: undefined,
    signsIn: false,
    ...parts,
    subscribes: subscribes.map(({ event }) => event),
    subscriptions: new Map(subscribes.map(({ event, options }) => [event, options])),
    contract,
  }
}

const subscriptionOf = (one: ContractEvent | Subscription): Subscription =>
  one && 'options' in one ? one : { event: one, options: {} }

/** Types a module's plugin: `export default definePlugin<typeof posts>(async (app) => { … })`. */
export function definePlugin<C extends Contract, S extends TObject = TObject>(
  plugin: ModulePlugin<C, S>,
): ModulePlugin<C, S> {
  return plugin
}

type DataOf<E extends EventType> = Static<E['data']>

/** What a module finds on its Fastify instance, besides Fastify. The same wherever the module runs. */
export interface ModuleServices<C extends Contract = Contract, S extends TObject = TObject> {
  /** The module's variables, checked at boot. */
  readonly settings: Static<S>
  /** The module's own database, under a role that may touch its own schema only. Inside a transaction use `tx`. */
  readonly db: Database
  /**
   * The procedures of a module that the manifest `uses`, wherever it runs. Ask once, when the plugin is built: a module
   * that the manifest does not name is refused at boot.
   *
   * @throws the errors that the procedure names, {@link BadInput}, {@link Unavailable}, {@link DeadlineExceeded}, {@link CallFailed}
   * @example
   * const { getUser } = app.call(users)
   * const author = await getUser({ id: authorId })
   */
  call<T extends Contract>(contract: T): Client<T>
  /** Implements all procedures of the module's own contract. */
  implement(procedures: Implementation<C, CallContext>): void
  /**
   * Records an event in the transaction that makes it true: both are committed, or neither. One statement.
   *
   * @throws {BadInput} when the data does not have the event's shape; let it roll the transaction back
   */
  publish<E extends C['events'][keyof C['events']]>(tx: Transaction, event: E, data: DataOf<E>): Promise<void>
  /**
   * Writes something and records the event that tells of it in one statement, which needs no transaction: as fast as both can
   * be had. The write `returns` something; where it wrote nothing, there is no event.
   *
   * @returns what was written, as PostgreSQL has it: names of columns, not of properties
   * @throws {BadInput} when the data does not have the event's shape; nothing is written then
   * @example
   * const write = app.db.insert(posts).values(post).returning({ id: posts.id })
   * await app.publishWith(write, contract.events.postCreated, { postId: post.id })
   */
  publishWith<E extends C['events'][keyof C['events']]>(
    write: SQLWrapper,
    event: E,
    data: DataOf<E>,
  ): Promise<Record<string, unknown>[]>
  /** Handles an event that the manifest `subscribes` to: exactly one effect in the database, however often it is delivered. */
  subscribe<E extends EventType>(
    event: E,
    handle: (event: ReceivedEvent<DataOf<E>>, handling: Handling) => Promise<void>,
  ): void
  /**
   * Work in the background: `run` is called every `every` ms while the process serves, and at once after `wake()`; never
   * twice at a time. A module keeps no timers of its own, so that building it starts nothing.
   */
  sweep(work: { name: string; every: number; run: () => Promise<void> }): { wake(): void }
  /**
   * Does the work of an `idempotent` route, or of a command, in a transaction, once for each idempotency key of a caller
   * within 24 h. A repetition, at once or later, here or at another replica, gets what came out the first time (a request
   * with `Idempotency-Replayed: true`); work that has thrown leaves nothing behind and may be tried again. Without a key it
   * is an ordinary transaction. The result is plain JSON; make the answer from it alone, and call this once for each answer.
   * The key of a request belongs to its user, that of a call to the calling module, the procedure and the user.
   *
   * @throws {IdempotencyKeyReused} when the key came with another path, body or input before
   * @throws {IdempotencyResultLost} when `SECRET` has changed since: results are kept sealed under it
   * @example const post = await app.once(request, reply, (tx) => posts.create(tx, author, request.body))
   * @example app.implement({ pay: (input, context) => app.once(context, (tx) => payments.create(tx, input)) })
   */
  once<T>(context: CallContext, work: (tx: Transaction) => Promise<T>): Promise<T>
  once<T>(request: FastifyRequest, reply: FastifyReply, work: (tx: Transaction) => Promise<T>): Promise<T>
  /**
   * Tells all processes that host this module something (up to 7 KB) when the transaction has been committed. It reaches
   * those that listen at that moment, so it may only speed up what would be noticed anyway.
   */
  signal(tx: Transaction, message: string): Promise<void>
  /** Hears what {@link signal} says in any process, this one included. `null`: some may have been missed. */
  onSignal(hear: (message: string | null) => void): void
  /**
   * Keeps what is done later in the trace of what made it necessary: keep `mark()` with it (null when nothing is recorded),
   * and do it in `goOn`.
   *
   * @example await app.traces.goOn(message.traceparent, 'send email', () => deliver(message))
   */
  readonly traces: {
    mark(): string | null
    goOn<T>(mark: string | null, name: string, work: () => Promise<T>): Promise<T>
  }
  /** Signs and reads the cursors of the module's pages. */
  readonly cursors: Cursors
  /** To start and to end sessions needs `signsIn`. */
  readonly sessions: ModuleSessions
  /**
   * Something that operators do by hand: `npm run seam -- <name> <arguments>`. It runs in a process of its own, which
   * answers no requests. Prints what it returns; an error ends it with its message.
   */
  task(task: Task): void
}

/** The Fastify instance of a module: encapsulated, typed by TypeBox, with {@link ModuleServices} on it. */
export type ModuleApp<C extends Contract = Contract, S extends TObject = TObject> = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
> &
  ModuleServices<C, S>
