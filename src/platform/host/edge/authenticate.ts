import type { IncomingHttpHeaders } from 'node:http'
import { parseCookie } from 'cookie'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Forbidden, NotFound, Unauthenticated, Unavailable } from '../../kit/errors.ts'
import { ensureAllowed, type Identity } from '../../kit/permissions.ts'
import type { Sessions } from '../identity/sessions.ts'
import { SESSION_COOKIE } from '../identity/sessions.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import { RequestContext } from '../request-context.ts'
import { FAILED_HEADER, IDENTITY_HEADER, NOBODY, REPEATED_HEADER, SERVICE_HEADER, TIMEOUT_HEADER } from '../rpc/wire.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The hosted module that a route belongs to. */
    module?: string
  }
  interface FastifyRequest {
    /** True when another process of the system has authenticated and limited this request already. */
    vouched: boolean
    /** What is wrong with its credentials. */
    refusal: Error | null
  }
}

const OWN_HEADERS = [IDENTITY_HEADER, SERVICE_HEADER, TIMEOUT_HEADER, REPEATED_HEADER]
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Finds out who asks, before anything else is done for them. In this order: the signed word of an edge process that has
 * verified them; at an edge, a bearer token or the session cookie. Headers of the system itself that come without a valid
 * signature are dropped.
 *
 * Credentials that are not good are refused ({@link refuseCredentials}) when the request has been counted, by its address:
 * nobody tries them without limit. That somebody must be signed in is asked only when it has been read, too: a gateway in front does both without
 * knowing who may use a route, and the answers shall not depend on where a module runs.
 */
export function authenticate(
  server: FastifyInstance,
  options: { edge: boolean; tokens: SystemTokens; sessions: Sessions },
): void {
  const { edge, tokens, sessions } = options
  server.decorateRequest('vouched', false)
  server.decorateRequest('refusal', null)

  server.addHook('onRequest', (request, reply, done) => {
    // Before any credentials or body are looked at: so do the addresses that exist only between processes not exist.
    if (request.is404) return done(new NotFound())
    const { module } = request.routeConfig
    const admit = (identity: Identity | null) => {
      request.identity = identity
      request.context.identity = identity
      done()
    }
    // What the platform answers itself is for anyone, also while sessions cannot be read.
    if (!module) return admit(null)
    const vouched = vouchedIdentity(request, module, tokens)
    const timeout = request.headers[TIMEOUT_HEADER]
    const isRepeated = REPEATED_HEADER in request.headers
    dropOwnHeaders(request.headers)
    if (vouched) {
      request.vouched = true
      const { span } = request.context
      request.context = RequestContext.of(request, timeout)
      if (span) request.context.follow(span)
      if (isRepeated && !mayBeRepeated(request)) {
        reply.header(FAILED_HEADER, NOBODY)
        return done(new Unavailable(module, { cause: new Error('What may have been done already is not done again.') }))
      }
      return admit(vouched.identity)
    }
    const then = (refusal: Error | null, identity: Identity | null) => {
      request.refusal = refusal
      admit(refusal ? null : identity)
    }
    if (edge && request.context.span) request.context.run(() => identify(request, sessions, then))
    else if (edge) identify(request, sessions, then)
    else done(new Unauthenticated('This service answers only processes of its own system.'))
  })
  server.addHook('preValidation', (request, _reply, done) => {
    ensureAllowed(request.routeConfig.allow ?? 'anyone', request.identity)
    done()
  })
  if (edge && sessions.noteWrite) noteWrites(server, sessions.noteWrite)
}

/** A gateway cannot know whether a route heeds the key for whose sake it has sent a request once more. */
const mayBeRepeated = ({ method, routeConfig }: FastifyRequest): boolean =>
  SAFE_METHODS.has(method) || routeConfig.idempotent === true

/** Refuses requests whose credentials {@link authenticate} has found to be not good. Put it behind what counts them. */
export function refuseCredentials(server: FastifyInstance): void {
  server.addHook('onRequest', ({ refusal }, _reply, done) => done(refusal ?? undefined))
}

/** Before a client hears of what it has written, its session is told, so that its next request finds it. */
function noteWrites(server: FastifyInstance, noteWrite: (sessionId: string) => Promise<void>): void {
  server.addHook('onSend', async (request) => {
    const { identity, method, vouched } = request
    if (!identity || vouched || SAFE_METHODS.has(method)) return
    await noteWrite(identity.sessionId).catch((error) =>
      request.log.warn({ err: error }, 'it was not noted that a session has written'),
    )
  })
}

/** Deletes only what is there: `delete` is slow, and takes its time also for what is not. */
function dropOwnHeaders(headers: IncomingHttpHeaders): void {
  for (const header of OWN_HEADERS) if (header in headers) delete headers[header]
}

function vouchedIdentity(request: FastifyRequest, module: string, tokens: SystemTokens) {
  const token = request.headers[IDENTITY_HEADER]
  return typeof token === 'string' ? tokens.identity.verify(module, token) : undefined
}

/** Who carries nothing is not kept waiting for a promise. */
function identify(
  request: FastifyRequest,
  sessions: Sessions,
  done: (error: Error | null, identity: Identity | null) => void,
): void {
  const { authorization, cookie: cookies } = request.headers
  const cookie = cookies && parseCookie(cookies)[SESSION_COOKIE]
  const away = (cause: unknown) => done(new Unavailable('sessions', { cause }), null)
  if (authorization !== undefined) {
    const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization) ?? []
    const admit = (identity: Identity | null) =>
      done(identity ? null : new Unauthenticated('The bearer token is not valid, or not any more.'), identity)
    if (token) sessions.ofToken(token).then(admit, away)
    else admit(null)
  } else if (cookie) {
    sessions.ofCookie(cookie).then((identity) => {
      const foreign = identity && !SAFE_METHODS.has(request.method) && isForeign(request)
      done(foreign ? new Forbidden('This request comes from another site.') : null, identity)
    }, away)
  } else {
    done(null, null)
  }
}

/** Browsers say where a request comes from; other clients say nothing and carry no cookies of others. */
function isForeign(request: FastifyRequest): boolean {
  const site = request.headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const { origin } = request.headers
  if (origin === undefined) return false
  return !URL.canParse(origin) || new URL(origin).host !== request.host
}
