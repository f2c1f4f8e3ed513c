import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { BadInput, type Fault, NotFound, Overloaded, SeamError } from '../../kit/errors.ts'
import { faultsOf } from '../codec.ts'
import { meaningOf } from '../data/database-errors.ts'
import { FAILED_HEADER } from '../rpc/wire.ts'
import { STATUS_CODES } from './status-texts.ts'

/** How an error looks to a consumer of the REST API (RFC 9457). */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  instance: string
  code: string
  module: string
  requestId: string
  errors?: readonly Fault[]
  details?: unknown
}

/** Seconds after which a consumer may try again what failed with 503. */
const RETRY_AFTER = 1

/** Fastify's own refusals, in the words of this API. */
const CODES: Record<number, string> = {
  400: 'BadInput',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  408: 'RequestTimeout',
  413: 'PayloadTooLarge',
  414: 'UriTooLong',
  415: 'UnsupportedMediaType',
  429: 'TooManyRequests',
  431: 'HeadersTooLarge',
}

/** The code of a refusal that is not a module's own. */
export const codeOf = (status: number): string => CODES[status] ?? 'BadInput'

/** The most faults that an answer lists, and the most letters of a path that it shows. */
const MOST = { faults: 100, path: 200 }

/** Answers a request with an error, as `application/problem+json`. What is not meant for the outside goes to the log only. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known =
    error instanceof SeamError
      ? error
      : translate(error as FastifyError, request.routeOptions?.config?.module ?? 'seam')
  // Of refusals there are many at a time; they are counted. And what was given up because its client has gone, has not failed.
  if (known.status >= 500 && !(known instanceof Overloaded)) {
    const level = known.status === 503 && reply.raw.destroyed ? 'debug' : 'error'
    request.log[level]({ err: error, module: known.module }, 'a request failed')
  }
  if (known.status === 503) reply.header('retry-after', RETRY_AFTER)
  // So that a gateway does not take it out on an instance that is well.
  if (known.status >= 500 && request.vouched && !reply.hasHeader(FAILED_HEADER))
    reply.header(FAILED_HEADER, known.module)
  if (known.status === 401) reply.header('www-authenticate', 'Bearer realm="seam"')
  const { errors, ...details } = (known.details ?? {}) as { errors?: readonly Fault[] }
  const problem: Problem = {
    type: `urn:seam:${known.module}:${known.code}`,
    title: STATUS_CODES[known.status] ?? 'Error',
    status: known.status,
    detail: known.message,
    instance: request.url.split('?', 1)[0] ?? '',
    code: known.code,
    module: known.module,
    requestId: request.id,
    ...(errors && { errors }),
    ...(Object.keys(details).length > 0 && { details }),
  }
  // Also where no hook has run, because the address could not be read.
  reply.header('x-request-id', request.id)
  reply.removeHeader('content-length')
  reply.removeHeader('content-encoding')
  return reply.code(known.status).type('application/problem+json').serializer(JSON.stringify).send(problem)
}

/** The answer to what nothing answers. */
export function notFound(request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(new NotFound(), request, reply)
}

const PARTS: Record<string, string> = { body: '/body', querystring: '/query', params: '/path', headers: '/header' }

function translate(error: FastifyError, module: string): SeamError {
  if (error.validation) {
    const part = PARTS[error.validationContext ?? 'body'] ?? ''
    const faults = faultsOf(error.validation.slice(0, MOST.faults) as Parameters<typeof faultsOf>[0])
    return new BadInput(
      module,
      faults.map(({ path, message }) => ({ path: (part + path).slice(0, MOST.path), message })),
    )
  }
  const meaning = meaningOf(error, module)
  if (meaning) return meaning
  const status = error.statusCode ?? 500
  if (status >= 400 && status < 500) {
    const message =
      error instanceof SyntaxError || error.code === 'FST_ERR_CTP_INVALID_JSON_BODY'
        ? 'The body is not valid JSON.'
        : error.message
    return new SeamError({ module, code: codeOf(status), status, message })
  }
  return new SeamError({ module, code: 'Internal', status: 500, message: 'Something went wrong on our side.' })
}
