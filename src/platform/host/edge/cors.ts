import type { FastifyInstance, FastifyRequest } from 'fastify'
import { METHODS } from '../http/methods.ts'
import { addVary } from '../http/vary.ts'

/** What pages may read besides the body. */
const EXPOSED = [
  'Allow',
  'ETag',
  'Idempotency-Replayed',
  'Link',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
]

/** Lets pages of other sites use the API, with bearer tokens: the session cookie is not sent from there. */
export async function allowOrigins(server: FastifyInstance, origins: readonly string[]): Promise<void> {
  const shared = { origin: [...origins], methods: METHODS, exposedHeaders: EXPOSED }
  await server.register(import('@fastify/cors'), {
    delegator: (request, done) => done(null, { ...shared, preflight: isPreflight(request) }),
  })
  // What a gateway passes on has replaced what was said before.
  server.addHook('onSend', (_request, reply, payload, done) => {
    addVary(reply, 'Origin')
    done(null, payload)
  })
}

/** Any other OPTIONS asks what is allowed at an address, and is answered there. */
const isPreflight = ({ headers }: FastifyRequest): boolean =>
  headers.origin !== undefined && headers['access-control-request-method'] !== undefined
