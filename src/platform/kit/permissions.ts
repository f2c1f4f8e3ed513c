import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { Forbidden, Unauthenticated } from './errors.ts'

export const Role = Type.Enum(['member', 'moderator', 'admin'])
export type Role = Static<typeof Role>

/** A user as the edge verified them. */
export const Identity = Type.Object({
  userId: Type.String({ format: 'uuid' }),
  roles: Type.Array(Role),
  /** The session in which they signed in. */
  sessionId: Type.String({ format: 'uuid' }),
  /** When that session has last written, in milliseconds since 1970, where there are replicas to read from: for the host. */
  wroteAt: Type.Optional(Type.Integer()),
})
export type Identity = Static<typeof Identity>

/** Something that not everybody may do, and the roles that may. Declared in contracts. */
export interface Permission {
  /** Unique in the system, e.g. `posts.deletePosts`. */
  readonly name: string
  readonly roles: readonly Role[]
}

/**
 * Who may use a route. Every route must say it, in `config.allow`:
 *
 * - `anyone`: also those who are not signed in
 * - `user`: whoever is signed in
 * - a permission: whoever has it
 * - `owner`, alone or with a permission: the user to whom the resource belongs, or whoever has the permission. Only the
 *   route knows the owner, so it must ask {@link ensureOwner}; a route that does not is not answered.
 */
export type Allow =
  | 'anyone'
  | 'user'
  | { readonly permission: Permission }
  | { readonly owner: true; readonly permission?: Permission }

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller, null when nobody is signed in. Never null in a route that allows users only: see {@link userOf}. */
    identity: Identity | null
    /** Whether {@link ensureOwner} was asked. */
    ownerKnown: boolean
  }
}

/** The signed-in user of a route that is not for anyone. */
export function userOf(request: Pick<FastifyRequest, 'identity'>): Identity {
  if (!request.identity) throw new TypeError("userOf() belongs in routes that are not for 'anyone'")
  return request.identity
}

/** Whether somebody has a permission. */
export function has(identity: Identity | null, permission: Permission): boolean {
  return identity?.roles.some((role) => permission.roles.includes(role)) ?? false
}

/**
 * Lets a caller use a route, as far as that can be said before it runs.
 *
 * @throws {Unauthenticated} when somebody must be signed in
 * @throws {Forbidden} when whoever is signed in may not use it
 */
export function ensureAllowed(allow: Allow, identity: Identity | null): void {
  if (allow === 'anyone') return
  if (!identity) throw new Unauthenticated()
  if (allow === 'user' || 'owner' in allow) return
  if (!has(identity, allow.permission)) throw new Forbidden()
}

/**
 * Lets the owner of a resource pass, and whoever has the permission that the route names.
 *
 * @throws {Forbidden} for everybody else
 * @example
 * config: { allow: { owner: true, permission: posts.permissions.deletePosts } }
 * …
 * ensureOwner(request, post.author.id)
 */
export function ensureOwner(request: FastifyRequest, ownerId: string): Identity {
  const identity = userOf(request)
  const { allow } = request.routeOptions.config
  if (typeof allow !== 'object' || !('owner' in allow))
    throw new TypeError('ensureOwner() belongs in routes that allow the owner')
  request.ownerKnown = true
  if (identity.userId !== ownerId && !(allow.permission && has(identity, allow.permission))) throw new Forbidden()
  return identity
}
