import cookie, { Signer } from '@fastify/cookie'
import session, { type SessionStore } from '@fastify/session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import type { Sql } from 'postgres'
import { Unavailable } from '../../kit/errors.ts'
import type { Identity } from '../../kit/permissions.ts'
import { keyFor } from './tokens.ts'

export const SESSION_COOKIE = 'sid'
/** How long a session lasts, in milliseconds: 7 days. */
const LIFETIME = 7 * 24 * 3600 * 1000

declare module 'fastify' {
  interface Session {
    identity?: Identity
  }
}

/** Keeps sessions where every process of the system finds them. */
export interface Sessions {
  /** Lets the routes of this instance start sessions: `request.session`. */
  register(server: FastifyInstance): Promise<void>
  /** Ends the session that the request came with, if any, and starts one for this user. */
  start(request: FastifyRequest, identity: Identity): Promise<void>
  /** The user whose session a cookie names; null when it is forged, unknown or over. */
  identify(cookie: string): Promise<Identity | null>
}

/** A place for sessions: their JSON by id, until they expire. */
export interface SessionKeeper {
  get(id: string): Promise<Record<string, unknown> | null>
  set(id: string, data: Record<string, unknown>, expiresAt: Date): Promise<void>
  destroy(id: string): Promise<void>
}

export function sessionsIn(keeper: SessionKeeper, secret: string): Sessions {
  const signer = new Signer(keyFor(secret, 'session cookie').toString('hex'), 'sha256')
  const store = storeOf(keeper)
  return {
    async register(server) {
      await server.register(cookie)
      await server.register(session, {
        secret: signer,
        store,
        cookieName: SESSION_COOKIE,
        saveUninitialized: false,
        rolling: false,
        cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure: 'auto', maxAge: LIFETIME },
      })
    },
    async start(request, identity) {
      await request.session.regenerate()
      request.session.set('identity', identity)
    },
    async identify(value) {
      const unsigned = signer.unsign(value)
      if (!unsigned.valid || !unsigned.value) return null
      const data = await keeper.get(unsigned.value)
      return (data?.identity as Identity | undefined) ?? null
    },
  }
}

const away = (done: (error: Error) => void) => (cause: unknown) => done(new Unavailable('sessions', { cause }))

function storeOf(keeper: SessionKeeper): SessionStore {
  return {
    get: (id, done) => void keeper.get(id).then((data) => done(null, data as never), away(done)),
    set: (id, data, done) => {
      const plain = JSON.parse(JSON.stringify(data)) as Record<string, unknown>
      keeper.set(id, plain, new Date(Date.now() + LIFETIME)).then(() => done(), away(done))
    },
    destroy: (id, done) => void keeper.destroy(id).then(() => done(), away(done)),
  }
}

/** Sessions in the table `seam.sessions`; what has expired is removed as new sessions come. */
export function postgresKeeper(sql: Sql): SessionKeeper {
  return {
    async get(id) {
      const [row] = await sql`select data::text from seam.sessions where id = ${id} and expires_at > now()`
      return row ? JSON.parse(row.data) : null
    },
    async set(id, data, expiresAt) {
      await sql`
        with expired as (
          delete from seam.sessions where id in (
            select id from seam.sessions where expires_at < now() and id <> ${id} limit 10 for update skip locked))
        insert into seam.sessions (id, data, expires_at) values (${id}, ${sql.json(data as never)}, ${expiresAt.toISOString()}::timestamptz)
        on conflict (id) do update set data = excluded.data, expires_at = excluded.expires_at`
    },
    async destroy(id) {
      await sql`delete from seam.sessions where id = ${id}`
    },
  }
}

/** Sessions in Redis, under `seam:session:<id>`; Redis removes what has expired. */
export function redisKeeper(redis: Redis): SessionKeeper {
  const key = (id: string) => `seam:session:${id}`
  return {
    async get(id) {
      const text = await redis.get(key(id))
      return text ? JSON.parse(text) : null
    },
    async set(id, data, expiresAt) {
      await redis.set(key(id), JSON.stringify(data), 'PXAT', expiresAt.getTime())
    },
    async destroy(id) {
      await redis.del(key(id))
    },
  }
}
