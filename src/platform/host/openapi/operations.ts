import type { FastifyContextConfig } from 'fastify'
import { STATUS_CODES } from '../http/status-texts.ts'

/** An operation of an OpenAPI document, as far as it is worked on here. */
export interface Operation {
  parameters?: Parameter[]
  requestBody?: { content?: Record<string, { schema: object }> }
  security?: object[]
  responses: Record<string, Answer>
}

interface Parameter {
  schema?: { default?: unknown }
  required?: boolean
}

interface Answer {
  description?: string
  headers?: Record<string, object>
  content?: Record<string, { schema: object }>
}

const header = (description: string, schema: object = { type: 'string' }) => ({ description, schema })

/** Headers of answers, for `components.headers`. */
export const HEADERS = {
  'X-Request-Id': header('Names the request: in the log, in problems, wherever it went.'),
  RateLimit: header('What is left: `"caller";r=<requests>;t=<seconds>`.'),
  'RateLimit-Policy': header('The limit: `"caller";q=<requests>;w=<seconds>`.'),
  'Retry-After': header('Seconds after which it may be tried again.', { type: 'integer' }),
  'WWW-Authenticate': header('How to sign in.'),
  ETag: header('The version of the resource, for `If-None-Match` and `If-Match`.'),
  Location: header('Where the new resource is.'),
  Link: header('The next page: `<…>; rel="next"`.'),
  'Idempotency-Replayed': header('`true`: this answer was given before, to the same `Idempotency-Key`.'),
}

const parameter = (name: string, description: string, schema: object = { type: 'string' }) => ({
  name,
  in: 'header',
  required: false,
  description,
  schema,
})

/** Request headers that follow from what a route declares. */
const PARAMETERS = {
  requestId: parameter('X-Request-Id', 'Names the request; made if absent.', {
    type: 'string',
    pattern: '^[\\w.-]{1,128}$',
    examples: ['order-42.1'],
  }),
  ifNoneMatch: parameter('If-None-Match', 'ETags that the caller has already; 304 if one of them is the present one.'),
  ifMatch: parameter('If-Match', 'The ETag that the caller has seen; 412 if it is not the present one any more.'),
  idempotencyKey: parameter('Idempotency-Key', 'The same key and body within 24 h get the first answer again.', {
    type: 'string',
    minLength: 1,
    maxLength: 255,
    pattern: '^[\\x21-\\x7e]+$',
    examples: ['0198c0de-0000-7000-8000-000000000001'],
  }),
}

/** What the platform answers when it refuses or fails, for people. */
const REFUSALS: Record<number, string> = {
  400: 'The input is not valid; `errors` says all that is wrong.',
  401: 'Nobody is signed in, or what they showed is not valid (any more).',
  403: 'The caller may not do this.',
  406: 'The caller accepts nothing that is answered here.',
  412: 'The resource has been changed since the caller saw it.',
  413: 'The body is larger than 1 MiB.',
  415: 'The body is not JSON.',
  422: 'The `Idempotency-Key` was used for another request, or what was answered then cannot be given again.',
  429: 'The caller has asked too often.',
  500: 'Something went wrong on our side.',
  503: 'A module cannot be reached, or did not answer in time.',
}

/** Adds to an operation all that follows from its route's `config`: security, headers, refusals. */
export function completed(operation: Operation, method: string, config: FastifyContextConfig): Operation {
  const reads = method === 'get'
  const changes = heedsMatch(method, config)
  const parameters = [
    ...(operation.parameters ?? []).map((one) =>
      one.schema?.default === undefined ? one : { ...one, required: false },
    ),
    PARAMETERS.requestId,
    ...(config.etag && reads ? [PARAMETERS.ifNoneMatch] : []),
    ...(changes ? [PARAMETERS.ifMatch] : []),
    ...(config.idempotent ? [PARAMETERS.idempotencyKey] : []),
  ]
  const answers = Object.entries(operation.responses)
    .filter(([status]) => status !== 'default')
    .map(([status, answer]) => [status, success(answer, Number(status), method, config)] as const)
  return {
    ...operation,
    parameters,
    ...(operation.requestBody && { requestBody: withoutDefaults(operation.requestBody) as object }),
    security: [...(config.allow === 'anyone' ? [{}] : []), { bearer: [] }, { session: [] }],
    responses: {
      ...Object.fromEntries(answers),
      ...(config.etag &&
        reads && { 304: { description: 'The caller has this version already.', headers: refs(['ETag']) } }),
      ...refusals(operation, method, config, parameters.length > 1),
    },
  }
}

const heedsMatch = (method: string, { etag }: FastifyContextConfig): boolean =>
  etag === 'match' || (etag === true && ['patch', 'put', 'delete'].includes(method))

/** What has a default is there once a request has been read, but nobody must send it. */
function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults)
  if (typeof value !== 'object' || value === null) return value
  const copy = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutDefaults(part)]))
  const { required, properties } = copy as { required?: string[]; properties?: Record<string, { default?: unknown }> }
  if (!Array.isArray(required) || !properties) return copy
  return { ...copy, required: required.filter((name) => properties[name]?.default === undefined) }
}

function success(answer: Answer, status: number, method: string, config: FastifyContextConfig): Answer {
  const isList = JSON.stringify(answer.content ?? {}).includes('"next"')
  const names = [
    'X-Request-Id',
    'RateLimit',
    'RateLimit-Policy',
    ...(config.etag && method !== 'delete' ? ['ETag'] : []),
    ...(status === 201 ? ['Location'] : []),
    ...(isList ? ['Link'] : []),
    ...(config.idempotent ? ['Idempotency-Replayed'] : []),
  ]
  const named = answer.description && answer.description !== 'Default Response'
  return {
    ...answer,
    description: named ? answer.description! : (STATUS_CODES[status] ?? 'Done'),
    headers: { ...answer.headers, ...refs(names) },
  }
}

function refusals(operation: Operation, method: string, config: FastifyContextConfig, hasInput: boolean) {
  const own = Map.groupBy(config.throws ?? [], ({ shape }) => shape.status)
  const body = operation.requestBody !== undefined
  const statuses = [
    ...(hasInput || body || method !== 'get' ? [400] : []),
    401,
    // Who uses a cookie may not do so from another site.
    ...(config.allow === 'anyone' && method === 'get' ? [] : [403]),
    406,
    ...(heedsMatch(method, config) ? [412] : []),
    ...(method === 'get' ? [] : [413, 415]),
    ...(config.idempotent ? [422] : []),
    429,
    500,
    503,
    ...own.keys(),
  ]
  return Object.fromEntries(
    [...new Set(statuses)]
      .sort((a, b) => a - b)
      .map((status) => {
        const errors = (own.get(status) ?? []).map(({ shape, code }) => `\`${code}\`: ${shape.message}`)
        const names = [
          'X-Request-Id',
          ...(status === 401 ? ['WWW-Authenticate'] : []),
          ...(status === 429 || status === 503 ? ['Retry-After'] : []),
        ]
        return [
          status,
          {
            description: [...(REFUSALS[status] ? [REFUSALS[status]] : []), ...errors].join(' '),
            headers: refs(names),
            content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
          },
        ]
      }),
  )
}

const refs = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
