import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Forbidden, Unauthenticated } from '../../kit/errors.ts'
import type { Identity } from '../../kit/permissions.ts'
import type { Sessions } from '../identity/sessions.ts'
import { SESSION_COOKIE } from '../identity/sessions.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import { IDENTITY_HEADER, SERVICE_HEADER, TIMEOUT_HEADER } from '../rpc/wire.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The hosted module that a route belongs to. */
    module?: string
    /** A route between processes, which does its own authentication. */
    internal?: boolean
  }
  interface FastifyRequest {
    /** True when another process of the system has authenticated and limited this request already. */
    vouched: boolean
  }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Finds out who asks, before anything else is done for them, and refuses who may not. In this order:
 * the signed word of an edge process that has verified them; at an edge, a bearer token or the session cookie.
 * Headers of the system itself that come without a valid signature are dropped.
 */
export function authenticate(
  server: FastifyInstance,
  options: { edge: boolean; tokens: SystemTokens; sessions: Sessions },
): void {
  const { edge, tokens, sessions } = options
  server.decorateRequest('vouched', false)

  server.addHook('onRequest', async (request) => {
    const { module, internal, allow } = request.routeOptions.config
    if (internal) return
    const vouched = module && vouchedIdentity(request, module, tokens)
    const timeout = request.headers[TIMEOUT_HEADER]
    for (const header of [IDENTITY_HEADER, SERVICE_HEADER, TIMEOUT_HEADER]) delete request.headers[header]
    if (vouched) {
      request.vouched = true
      request.identity = vouched.identity
      request.context = request.context.limitedBy(timeout)
    } else if (edge) {
      request.identity = await identify(request, tokens, sessions)
    } else if (module) {
      throw new Unauthenticated('This service answers only processes of its own system.')
    }
    request.context.identity = request.identity
    if (allow === 'user' && !request.identity) throw new Unauthenticated()
  })
}

function vouchedIdentity(request: FastifyRequest, module: string, tokens: SystemTokens) {
  const token = request.headers[IDENTITY_HEADER]
  return typeof token === 'string' ? tokens.identity.verify(module, token) : undefined
}

async function identify(request: FastifyRequest, tokens: SystemTokens, sessions: Sessions): Promise<Identity | null> {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i.exec(authorization) ?? []
    const identity = token && tokens.user.verify('api', token)
    if (!identity) throw new Unauthenticated('The bearer token is not valid, or not any more.')
    return identity
  }
  const cookie = request.cookies[SESSION_COOKIE]
  if (!cookie) return null
  const identity = await sessions.identify(cookie)
  if (identity && !SAFE_METHODS.has(request.method) && isForeign(request)) {
    throw new Forbidden('This request comes from another site.')
  }
  return identity
}

/** Browsers say where a request comes from; other clients say nothing and carry no cookies of others. */
function isForeign(request: FastifyRequest): boolean {
  const site = request.headers['sec-fetch-site']
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const { origin } = request.headers
  if (origin === undefined) return false
  return !URL.canParse(origin) || new URL(origin).host !== request.host
}
