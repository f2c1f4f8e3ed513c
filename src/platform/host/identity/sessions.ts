import cookie, { Signer } from '@fastify/cookie'
import session, { type SessionStore } from '@fastify/session'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify'
import { Unavailable } from '../../kit/errors.ts'
import type { Identity } from '../../kit/permissions.ts'
import type { ModuleSessions } from '../../kit/sessions.ts'
import type { KeptSession, SessionKeeper } from './session-keepers.ts'
import { keyFor, type SystemTokens, USER_TOKEN_LIFETIME } from './tokens.ts'

export const SESSION_COOKIE = 'sid'
/** How long a session lasts, in milliseconds: 7 days. */
const LIFETIME = 7 * 24 * 3600 * 1000
/** How often it is noted that a session is in use, in milliseconds. */
const TOUCH = 60_000

/** What is kept of a session. */
interface SessionRecord extends Omit<Identity, 'sessionId' | 'wroteAt'> {
  device: string | null
  address: string
  createdAt: string
}

declare module 'fastify' {
  interface Session {
    record?: SessionRecord
  }
}

/** Keeps sessions where every process of the system finds them. */
export interface Sessions extends ModuleSessions {
  /** Lets the routes of this instance set and take back the session cookie. */
  register(server: FastifyInstance): Promise<void>
  /** The user whose session a cookie names; null when it is forged, unknown or over. */
  ofCookie(cookie: string): Promise<Identity | null>
  /** The user whose session a token names; null when the token is not valid or the session is over. */
  ofToken(token: string): Promise<Identity | null>
  /** Notes that the user of a session has written just now, where that is of interest; undefined where it is not. */
  readonly noteWrite: ((sessionId: string) => Promise<void>) | undefined
}

export function sessionsIn(
  keeper: SessionKeeper,
  options: {
    secret: string
    tokens: SystemTokens
    log: FastifyBaseLogger
    /** Whether what a session writes is noted, because there are replicas that may not have it yet. */
    notesWrites?: boolean
  },
): Sessions {
  const signer = new Signer(keyFor(options.secret, 'session cookie').toString('hex'), 'sha256')
  const starting = new WeakMap<object, string>()

  const identify = async (id: string): Promise<Identity | null> => {
    const kept = await keeper.get(id)
    const record = recordOf(kept)
    if (!kept || !record) return null
    if (Date.now() - kept.lastUsedAt.getTime() > TOUCH)
      keeper.touch(id).catch((error) => options.log.debug({ err: error }, 'the use of a session was not noted'))
    const identity = { userId: record.userId, roles: record.roles, sessionId: id }
    // Whoever has just signed in may have registered just before.
    return options.notesWrites
      ? { ...identity, wroteAt: Math.max(kept.wroteAt ?? 0, Date.parse(record.createdAt)) }
      : identity
  }
  const listOf = async (userId: string) =>
    (await keeper.list(userId)).flatMap((kept) => {
      const record = recordOf(kept)
      return record?.userId === userId ? [{ ...kept, record }] : []
    })

  return {
    async register(server) {
      await server.register(cookie)
      await server.register(session, {
        secret: signer,
        store: storeOn(keeper),
        // The module that starts a session chooses its id. One without an id is none: nothing is kept of it, nor sent.
        idGenerator: (request?: FastifyRequest) => (request && starting.get(request)) ?? '',
        cookieName: SESSION_COOKIE,
        saveUninitialized: false,
        rolling: false,
        cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure: 'auto', maxAge: LIFETIME },
      })
      // Whoever signs in anew leaves the session of before, but not until they have.
      server.addHook('onSend', async (request, reply) => {
        const started = starting.get(request)
        // Cookies are read only of requests that nobody has refused before.
        if (!started || reply.statusCode >= 400) return
        const { valid, value: former } = signer.unsign(request.cookies[SESSION_COOKIE] ?? '')
        if (!valid || !former || former === started) return
        await keeper
          .destroy(former)
          .catch((error) => options.log.warn({ err: error }, 'a session was not ended when its user signed in anew'))
      })
    },

    noteWrite: options.notesWrites ? (id) => keeper.noteWrite(id, Date.now()) : undefined,

    async ofCookie(value) {
      const { valid, value: id } = signer.unsign(value)
      return valid && id ? identify(id) : null
    },

    async ofToken(token) {
      const claims = options.tokens.user.verify('api', token)
      if (!claims) return null
      const identity = await identify(claims.sessionId)
      return identity?.userId === claims.userId ? identity : null
    },

    token({ userId, sessionId }) {
      return { token: options.tokens.user.sign('api', { userId, sessionId }), expiresIn: USER_TOKEN_LIFETIME }
    },

    async start(request, { sessionId, userId, roles }) {
      const known = recordOf(await orUnavailable(keeper.get(sessionId)))
      starting.set(request, sessionId)
      if (request.session.sessionId !== sessionId) await request.session.regenerate()
      else request.session.touch()
      request.session.set('record', {
        userId,
        roles,
        device: request.headers['user-agent']?.slice(0, 200) ?? null,
        address: request.ip,
        createdAt: known?.createdAt ?? new Date().toISOString(),
      })
      await request.session.save()
    },

    async stop(request, reply) {
      if (request.identity) await orUnavailable(keeper.destroy(request.identity.sessionId))
      reply.clearCookie(SESSION_COOKIE, { path: '/' })
    },

    async list(userId) {
      const found = await orUnavailable(listOf(userId))
      return found
        .map(({ id, record: { device, address, createdAt }, lastUsedAt }) => ({
          id,
          device,
          address,
          createdAt,
          lastUsedAt: lastUsedAt.toISOString(),
        }))
        .sort((a, b) => (a.id < b.id ? 1 : -1))
    },

    async underWay(sessionIds) {
      return new Set(await orUnavailable(keeper.among(sessionIds)))
    },

    async end(userId, sessionId) {
      const record = recordOf(await orUnavailable(keeper.get(sessionId)))
      if (record?.userId !== userId) return false
      await orUnavailable(keeper.destroy(sessionId))
      return true
    },

    async endAll(userId, except) {
      const found = await orUnavailable(keeper.list(userId))
      await orUnavailable(Promise.all(found.filter(({ id }) => id !== except).map(({ id }) => keeper.destroy(id))))
    },

    async setRoles(userId, roles) {
      const found = await orUnavailable(listOf(userId))
      await orUnavailable(
        Promise.all(found.map(({ id, data, record }) => keeper.replace(id, { ...data, record: { ...record, roles } }))),
      )
    },
  }
}

/** What was kept, unless it is no session of this version. */
function recordOf(kept: KeptSession | null): SessionRecord | undefined {
  const record = kept?.data.record as SessionRecord | undefined
  return record?.userId && Array.isArray(record.roles) ? record : undefined
}

async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  return work.catch((cause) => {
    throw new Unavailable('sessions', { cause })
  })
}

/**
 * What @fastify/session needs to keep a session that starts, when somebody has signed in. It reads none, because who asks has
 * been found out before a module hears of a request; and it ends none.
 */
function storeOn(keeper: SessionKeeper): SessionStore {
  return {
    get: (_id, done) => done(null, null),
    set(id, data, done) {
      const { cookie, record } = JSON.parse(JSON.stringify(data)) as { cookie: unknown; record?: SessionRecord }
      if (!record) return done()
      const expiresAt = new Date(Date.now() + LIFETIME)
      void orUnavailable(keeper.set(id, { cookie, record }, { userId: record.userId, expiresAt })).then(
        () => done(),
        done,
      )
    },
    destroy: (_id, done) => done(),
  }
}
