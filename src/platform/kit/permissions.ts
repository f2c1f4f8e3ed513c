import { type Static, Type } from 'typebox'

export const Role = Type.Enum(['member', 'moderator', 'admin'])

/** A user as the edge verified them. */
export const Identity = Type.Object({ userId: Type.String({ format: 'uuid' }), roles: Type.Array(Role) })
export type Identity = Static<typeof Identity>

/** Who may use a route: everybody, or signed-in users. Every route must say it, in `config.allow`. */
export type Allow = 'anyone' | 'user'

declare module 'fastify' {
  interface FastifyContextConfig {
    allow?: Allow
  }
  interface FastifyRequest {
    /** The caller, null when nobody is signed in. Never null in a route that allows users only: see {@link userOf}. */
    identity: Identity | null
  }
}

/** The signed-in user of a route with `allow: 'user'`. */
export function userOf(request: { identity: Identity | null }): Identity {
  if (!request.identity) throw new TypeError("userOf() belongs in routes with allow: 'user'")
  return request.identity
}
