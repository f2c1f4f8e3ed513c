import type { Static, TSchema } from 'typebox'
import { SeamError } from './errors.ts'
import type { Permission, Role } from './permissions.ts'
import type { Upcast } from './upcast.ts'

export { type Upcast, upcast } from './upcast.ts'

/** A typed operation that one module offers to others. `query` is safe to repeat; `command` changes something. */
export interface Procedure<I extends TSchema = TSchema, O extends TSchema = TSchema, E extends string = string> {
  readonly kind: 'query' | 'command'
  readonly input: I
  readonly output: O
  /** The contract's errors that a caller must expect. Anything else arrives as {@link CallFailed}. */
  readonly throws: readonly E[]
  /** The longest that a call may take, in milliseconds, if the request has more time than that. */
  readonly timeout?: number
  /** For queries: after so many milliseconds without an answer a second instance is asked, and the first answer counts. */
  readonly hedge?: number
  /** For queries: see {@link Cache}. */
  readonly cache?: Cache<I>
  /** True: nobody calls it any more but processes of the previous release, and the next one may do without it. */
  readonly retired?: boolean
}

/**
 * How long callers may keep the answer of a query, wherever the module runs. Only for answers that follow from the input
 * alone: the handler is not told who asks (`identity` is null). Answers arrive frozen; errors are not kept.
 */
export interface Cache<I extends TSchema = TSchema> {
  /** Seconds for which an answer is good. */
  readonly ttl: number
  /** What the answer tells of: an event whose `outdates` names one of these ends it, before any subscriber's handler runs. */
  tags?(input: Static<I>): readonly string[]
  /** So many seconds longer it stands in, unless an event has outdated it, where the module cannot be asked (default: 0). */
  readonly staleIfError?: number
}

type ProcedureParts<I, O, E> = { input: I; output: O; throws?: readonly E[]; timeout?: number; retired?: boolean }
type QueryParts<I extends TSchema, O, E> = ProcedureParts<I, O, E> & { hedge?: number; cache?: Cache<I> }

/**
 * Declares a procedure that only reads; callers may repeat it.
 * Input and output are what JSON can carry: no Dates, no undefined in arrays, no extra fields.
 *
 * @example query({ input: Type.Object({ id: UserId }), output: PublicUser, throws: ['UserNotFound'] })
 */
export function query<I extends TSchema, O extends TSchema, const E extends string = never>(
  parts: QueryParts<I, O, E>,
): Procedure<I, O, NoInfer<E>> {
  return { kind: 'query', throws: [], ...parts }
}

/**
 * Declares a procedure that changes something. Shapes as for {@link query}. It is repeated after a fault only for callers
 * who give an `idempotencyKey`; its handler does the work in `app.once(context, …)`, so once for each key.
 */
export function command<I extends TSchema, O extends TSchema, const E extends string = never>(
  parts: ProcedureParts<I, O, E>,
): Procedure<I, O, NoInfer<E>> {
  return { kind: 'command', throws: [], ...parts }
}

/** Something that happened in a module, told to every module that subscribes. */
export interface EventType<D extends TSchema = TSchema> {
  /** Unique in the system, e.g. `user.created`. */
  readonly name: string
  readonly version: number
  /** The property of `data` whose value keeps the order: events with the same value arrive in the order they happened. At most 500 characters. */
  readonly key: string
  readonly data: D
  /** The tags of kept answers of the same module that are wrong from now on ({@link Cache}). */
  outdates?(data: Static<D>): readonly string[]
  /** How events of earlier versions become this one; each leads to the version after it. See {@link upcast}. */
  readonly upcasts?: Readonly<Record<number, Upcast>>
  /** True: it is published no more, and the next release may do without it. */
  readonly retired?: boolean
}

/** An event as its contract knows it. */
export type ContractEvent<E extends EventType = EventType> = E & { readonly module: string }

/**
 * Declares an event.
 *
 * @example event('user.created', { version: 1, key: 'userId', data: Type.Object({ userId: UserId, email: Email }) })
 */
export function event<D extends TSchema>(
  name: string,
  parts: Omit<EventType<D>, 'name'> & { key: keyof Static<D> & string },
): EventType<D> {
  return { name, ...parts }
}

/** An error that a module's procedures and routes may throw: its HTTP status, its words and the shape of its details. */
export interface ErrorShape<D extends TSchema = TSchema> {
  readonly status: number
  readonly message: string
  readonly details?: D
}

type Details<S extends ErrorShape> = S extends { details: infer D extends TSchema } ? Static<D> : undefined

/** The class made from an {@link ErrorShape}: `throw new users.errors.UserNotFound({ id })`. */
export interface ErrorClass<S extends ErrorShape = ErrorShape> {
  new (...details: S extends { details: TSchema } ? [details: Details<S>] : []): SeamError<Details<S>>
  readonly shape: S
  /** Its name in the contract. */
  readonly code: string
}

type Errors = Record<string, ErrorShape>
type Procedures<E> = Record<string, Procedure<TSchema, TSchema, Extract<keyof E, string>>>
type Events = Record<string, EventType>
/** For each permission the roles that have it. */
type Permissions = Record<string, readonly Role[]>

/** What others may know of a module. It is a plain value: importing it loads no implementation. */
export interface Contract<
  N extends string = string,
  E extends Errors = Errors,
  P extends Record<string, Procedure> = Record<string, Procedure>,
  V extends Events = Events,
  A extends Permissions = Permissions,
> {
  readonly name: N
  /** The REST prefixes that the module answers, each below `/api/`. */
  readonly routes: readonly string[]
  readonly errors: { readonly [K in keyof E]: ErrorClass<E[K]> }
  readonly procedures: P
  readonly events: { readonly [K in keyof V]: ContractEvent<V[K]> }
  /** What not everybody may do with this module: routes name it in `config.allow`. */
  readonly permissions: { readonly [K in keyof A]: Permission }
}

/**
 * Declares a module's contract: procedures, events, errors, REST prefixes. All types follow from the schemas.
 * The name is lower case; it also names the module's PostgreSQL schema and its variables (`USERS_URL`).
 *
 * @example
 * export const users = defineContract('users', {
 *   routes: ['/api/users'],
 *   errors: { UserNotFound: { status: 404, message: 'There is no such user.' } },
 *   procedures: { getUser: query({ input: Type.Object({ id: UserId }), output: PublicUser, throws: ['UserNotFound'] }) },
 *   events: { userCreated: event('user.created', { version: 1, key: 'userId', data: UserCreated }) },
 *   permissions: { listUsers: ['admin'] },
 * })
 */
export function defineContract<
  const N extends string,
  const E extends Errors = Record<never, ErrorShape>,
  P extends Procedures<E> = Record<never, Procedure<TSchema, TSchema, Extract<keyof E, string>>>,
  V extends Events = Record<never, EventType>,
  const A extends Permissions = Record<never, readonly Role[]>,
>(
  name: N,
  parts: { routes?: readonly `/api/${string}`[]; errors?: E; procedures?: P; events?: V; permissions?: A },
): Contract<N, E, P, V, A> {
  const each = <T, R>(values: Record<string, T> | undefined, make: (value: T, key: string) => R) =>
    Object.fromEntries(Object.entries(values ?? {}).map(([key, value]) => [key, make(value, key)]))
  return {
    name,
    routes: parts.routes ?? [],
    errors: each(parts.errors, (shape, code) => errorClass(name, code, shape)) as unknown as Contract<N, E>['errors'],
    procedures: parts.procedures ?? ({} as P),
    events: each(parts.events, (type) => ({ ...type, module: name })) as unknown as Contract<N, E, P, V>['events'],
    permissions: each(parts.permissions, (roles, key) => ({ name: `${name}.${key}`, roles })) as unknown as Contract<
      N,
      E,
      P,
      V,
      A
    >['permissions'],
  }
}

function errorClass(module: string, code: string, shape: ErrorShape): ErrorClass {
  return class extends SeamError {
    static readonly shape = shape
    static readonly code = code
    constructor(details?: unknown) {
      super({ module, code, status: shape.status, message: shape.message, details })
    }
  } as unknown as ErrorClass
}

/** How long and for whom a call goes on. */
export interface CallOptions {
  /** Milliseconds; never longer than what the request has left (default: exactly that). */
  timeout?: number
  /** Makes a command safe to repeat: the same for the same intention, 1 to 255 characters of ASCII that can be seen. */
  idempotencyKey?: string
}

type Input<P> = P extends Procedure<infer I> ? Static<I> : never
type Output<P> = P extends Procedure<TSchema, infer O> ? Static<O> : never

/** The procedures of a contract as functions; the same wherever the module runs. */
export type Client<C extends Contract> = {
  readonly [K in keyof C['procedures']]: (
    input: Input<C['procedures'][K]>,
    options?: CallOptions,
  ) => Promise<Output<C['procedures'][K]>>
}

/** What a module must implement for its contract. */
export type Implementation<C extends Contract, Context> = {
  readonly [K in keyof C['procedures']]: (
    input: Input<C['procedures'][K]>,
    context: Context,
  ) => Promise<Output<C['procedures'][K]>> | Output<C['procedures'][K]>
}
