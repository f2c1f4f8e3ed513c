import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify'
import type { Static, TObject } from 'typebox'
import type { CallContext } from './call-context.ts'
import type { Client, Contract, ContractEvent, EventType, Implementation } from './contract.ts'
import type { Cursors } from './pages.ts'
import type { Identity } from './permissions.ts'
import type { Database, Transaction } from './tables.ts'

/** What the platform must know of a module before it loads it. Made by {@link defineModule}. */
export interface Manifest<C extends Contract = Contract, S extends TObject = TObject> {
  readonly contract: C
  /** Contracts of the modules that this one may call. */
  readonly uses: readonly Contract[]
  /** Events that this module handles. */
  readonly subscribes: readonly ContractEvent[]
  /** Environment variables of the module's own; each property is one, with `description` and `examples`. */
  readonly settings: S | undefined
  /** Whether its routes start sessions ({@link ModuleServices.signIn}). */
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
    subscribes?: readonly ContractEvent[]
    settings?: S
    signsIn?: boolean
    plugin: () => Promise<{ default: ModulePlugin<C, S> }>
  },
): Manifest<C, S> {
  return { uses: [], subscribes: [], settings: undefined, signsIn: false, ...parts, contract }
}

/** Types a module's plugin: `export default definePlugin<typeof posts>(async (app) => { … })`. */
export function definePlugin<C extends Contract, S extends TObject = TObject>(
  plugin: ModulePlugin<C, S>,
): ModulePlugin<C, S> {
  return plugin
}

/** An event as a subscriber receives it. */
export interface ReceivedEvent<D = unknown> {
  /** UUIDv7; the same however often the event is delivered. */
  readonly id: string
  readonly name: string
  readonly version: number
  readonly key: string
  /** Counts the events of one key in its publishing module, from 1. */
  readonly sequence: number
  /** ISO 8601, UTC. */
  readonly occurredAt: string
  readonly data: D
}

/** The transaction in which an event is handled; what it writes is committed together with the note that it was handled. */
export interface Handling {
  readonly tx: Transaction
  /** Runs a function after the commit; it is lost when the process dies in between, so it may only speed things up. */
  afterCommit(run: () => void): void
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
  /** Signs and reads the cursors of the module's pages. */
  readonly cursors: Cursors
  /** Starts a session for the caller of this request and issues a bearer token; `expiresIn` in seconds. Needs `signsIn`. */
  signIn(request: FastifyRequest, identity: Identity): Promise<{ token: string; expiresIn: number }>
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
