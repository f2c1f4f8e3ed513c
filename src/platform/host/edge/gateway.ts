import { Readable } from 'node:stream'
import httpProxy, { type FastifyHttpProxyOptions } from '@fastify/http-proxy'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { DeadlineExceeded, Unavailable } from '../../kit/errors.ts'
import type { Manifest } from '../../kit/module.ts'
import type { Balancer } from '../balancing/balancer.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import { DEFAULT_TIMEOUT } from '../request-context.ts'
import { IDENTITY_HEADER, TIMEOUT_HEADER } from '../rpc/wire.ts'

/**
 * A body is read before it is passed on: where it is too large or ends too early, the module need not be asked, and the
 * answer is its own. To the proxy it looks like a stream, because other bodies are encoded once more.
 */
const readWhole = (_request: FastifyRequest, body: Buffer, done: (error: null, body: Readable) => void) =>
  done(null, Readable.from([body], { objectMode: false }))

const PROBLEM = 'application/problem+json'

/** To one instance of a module, at most. A stream of events has one to itself as long as it lasts, so they must be many. */
const CONNECTIONS = 4_096

/** What speaks of the connection to the client, and the credentials that have been verified here (the cookie: see below). */
const KEPT_BACK = [
  'authorization',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
]

type Hooks = Required<NonNullable<FastifyHttpProxyOptions['replyOptions']>>

/**
 * Passes the REST prefixes of a module that runs elsewhere on to one of its instances, with the caller's identity signed.
 * An instance that cannot be reached or does not answer in time becomes a 503 that names the module.
 */
export async function proxyModule(
  server: FastifyInstance,
  manifest: Manifest,
  options: { balancer: Balancer; tokens: SystemTokens },
): Promise<void> {
  const { contract } = manifest
  const module = contract.name
  const { balancer, tokens } = options

  const rewriteRequestHeaders: Hooks['rewriteRequestHeaders'] = (raw, headers) => {
    const request = raw as FastifyRequest
    const passed: typeof headers = { ...headers }
    for (const name of KEPT_BACK) delete passed[name]
    if (!manifest.signsIn) delete passed.cookie
    return {
      ...passed,
      [IDENTITY_HEADER]: tokens.identity.sign(module, { identity: request.identity }),
      [TIMEOUT_HEADER]: String(request.context.remaining()),
      'x-request-id': request.id,
      traceparent: request.context.traceparent,
      'x-forwarded-for': request.ip,
      'x-forwarded-proto': request.protocol,
      'x-forwarded-host': request.host,
    }
  }

  // They speak of the connection to the module, not of the one to the client.
  const rewriteHeaders: Hooks['rewriteHeaders'] = ({ connection: _connection, 'keep-alive': _keepAlive, ...headers }) =>
    headers

  const onError: Hooks['onError'] = (reply, { error }) => {
    const late = (error as { statusCode?: number }).statusCode === 504
    reply.send(late ? new DeadlineExceeded(module, { cause: error }) : new Unavailable(module, { cause: error }))
  }

  // A module fails in problems; other words come from something in between, and are not meant for the outside.
  const onResponse: Hooks['onResponse'] = (_request, reply, response) => {
    const { statusCode, stream } = response as unknown as { statusCode: number; stream: Readable }
    if (statusCode < 500 || reply.getHeader('content-type') === PROBLEM) return reply.send(stream)
    stream.on('error', () => {}).destroy()
    reply.send(new Unavailable(module, { cause: new Error(`Something answered for it with ${statusCode}.`) }))
  }

  for (const prefix of contract.routes) {
    const options: FastifyHttpProxyOptions = {
      upstream: '',
      prefix,
      proxyPayloads: false,
      config: { module },
      rewritePrefix: prefix,
      undici: {
        connections: CONNECTIONS,
        pipelining: 1,
        keepAliveTimeout: 4_000,
        connect: { timeout: 2_000 },
        headersTimeout: DEFAULT_TIMEOUT,
        bodyTimeout: 60_000,
      },
      destroyAgent: true,
      disableRequestLogging: true,
      replyOptions: {
        getUpstream: () => balancer.pick(module).origin,
        rewriteRequestHeaders,
        rewriteHeaders,
        onResponse,
        onError,
        retryDelay: () => null,
      },
    }
    await server.register(async (scope) => {
      scope.removeAllContentTypeParsers()
      scope.addContentTypeParser('*', { parseAs: 'buffer' }, readWhole)
      await scope.register(httpProxy, options)
    })
  }
}
