import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SystemTokens } from '../identity/tokens.ts'
import { FAILED_HEADER, IDENTITY_HEADER, REPEATED_HEADER, SERVICE_HEADER, TIMEOUT_HEADER } from '../rpc/wire.ts'

/** What speaks of one connection, and not of what is carried over it (RFC 9110, 7.6.1). */
const OF_THE_CONNECTION = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Besides, the credentials that have been verified here (the cookie: see below), and what is said anew. */
const NOT_PASSED_ON = new Set([
  ...OF_THE_CONNECTION,
  'authorization',
  'content-length',
  'expect',
  'host',
  'traceparent',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-request-id',
  FAILED_HEADER,
  IDENTITY_HEADER,
  REPEATED_HEADER,
  SERVICE_HEADER,
  TIMEOUT_HEADER,
])

/** `__proto__` would be no header, but the prototype of all headers. */
const NOT_PASSED_BACK = new Set([...OF_THE_CONNECTION, FAILED_HEADER, '__proto__'])

/** The headers with which a request is passed on, as names and values in turn: undici looks at these fastest. */
export function headersOn(
  request: FastifyRequest,
  options: { module: string; signsIn: boolean; tokens: SystemTokens },
  traceparent: string,
): string[] {
  const { headers: received, context } = request
  const { module, signsIn, tokens } = options
  const passed = [
    IDENTITY_HEADER,
    tokens.identity.sign(module, { identity: request.identity }),
    TIMEOUT_HEADER,
    String(context.remaining()),
    'x-request-id',
    request.id,
    'traceparent',
    traceparent,
    // A client that has gone already has no address any more.
    'x-forwarded-for',
    request.ip ?? '',
    'x-forwarded-proto',
    request.protocol,
    'x-forwarded-host',
    request.host,
  ]
  const listed = namesIn(received.connection)
  for (const name in received) {
    if (NOT_PASSED_ON.has(name) || (name === 'cookie' && !signsIn) || listed?.includes(name)) continue
    const value = received[name]
    if (typeof value === 'string') passed.push(name, value)
    else for (const one of value ?? []) passed.push(name, one)
  }
  if (request.body !== undefined && received['content-length'] !== undefined)
    passed.push('content-length', received['content-length'])
  return passed
}

const NOT_ASCII = /[^\0-\x7f]/

/**
 * Gives the client the headers that a module has answered with. They replace what was set here before.
 *
 * @returns whether all are in ASCII
 */
export function headersBack(received: IncomingHttpHeaders, reply: FastifyReply): boolean {
  const listed = namesIn(received.connection)
  let inAscii = true
  for (const name in received) {
    if (NOT_PASSED_BACK.has(name) || listed?.includes(name)) continue
    const value = received[name]
    reply.header(name, value)
    if (NOT_ASCII.test(String(value))) inAscii = false
  }
  return inAscii
}

/** The headers that a `Connection` header lists as speaking of the connection; nearly always none. */
function namesIn(connection: string | string[] | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return String(connection)
    .toLowerCase()
    .split(/[\s,]+/)
}
