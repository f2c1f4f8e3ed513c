import fastJsonStringify from 'fast-json-stringify'
import fastify, {
  errorCodes,
  type FastifyBaseLogger,
  type FastifyContextConfig,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { BadInput, DeadlineExceeded, NotFound } from '../../kit/errors.ts'
import { createAjv } from '../ajv.ts'
import { RequestContext, requestIdOf } from '../request-context.ts'
import { tracing } from '../tracing/tracer.ts'
import { type Ahead, serverAsking } from './ahead.ts'
import { refuseBrokenRequest } from './broken-requests.ts'
import { compressAnswers } from './compression.ts'
import { ensureAcceptable } from './negotiation.ts'
import { isAmbiguous, originForm } from './paths.ts'
import { notFound, sendProblem } from './problems.ts'
import { RequestLog } from './request-log.ts'
import type { RouteStatistics } from './route-stats.ts'
import { textFaults } from './text.ts'

/** The largest body that is read, in bytes: 1 MiB. */
const BODY_LIMIT = 1024 * 1024

/** Levels at which every answer is logged. */
const LOGGED = new Set(['trace', 'debug', 'info'])

declare module 'fastify' {
  interface FastifyRequest {
    /** What goes along with this request. */
    context: RequestContext
    /** The config of its route, kept because `routeOptions` is made anew whenever it is asked for. */
    routeConfig: FastifyContextConfig & { url?: string }
    /** True from when its answer is made, though what is still done to that (`onSend`) may take a while. */
    answered: boolean
  }
  interface FastifyInstance {
    /** True while the server asks its clients to let go of their connections; see `drain.ts`. */
    draining: boolean
  }
}

/**
 * A Fastify instance with the conventions of the REST API: problem+json for every error, request ids and trace contexts,
 * a context with a deadline for each request, strict validation of bodies, bounded sizes and times.
 */
export function createServer(options: {
  log: FastifyBaseLogger
  trustProxy: readonly string[] | true
  statistics?: RouteStatistics
}): FastifyInstance {
  const { statistics } = options
  const ahead: Ahead[] = []
  const server = fastify({
    serverFactory: serverAsking(ahead),
    loggerInstance: options.log,
    childLoggerFactory: (log, bindings, options) => new RequestLog(() => log.child(bindings, options)),
    logController: new LogController({ requestIdLogLabel: 'requestId', disableRequestLogging: true }),
    trustProxy: options.trustProxy === true || (options.trustProxy.length > 0 && [...options.trustProxy]),
    bodyLimit: BODY_LIMIT,
    // Longer than a proxy in front keeps its connections (nginx: 60 s), so that it never writes into a closing one.
    keepAliveTimeout: 75_000,
    requestTimeout: 30_000,
    connectionTimeout: 0,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    rewriteUrl: ({ url = '/' }) => originForm(url),
    genReqId: (request) => requestIdOf(request.headers['x-request-id']) ?? crypto.randomUUID(),
    frameworkErrors: sendProblem,
    clientErrorHandler: refuseBrokenRequest,
    // Node's refusal has no body; see the hook below.
    http: { requireHostHeader: false },
    routerOptions: { maxParamLength: 200 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  })
  // JSON is the only language spoken here. Other bodies are read before they are refused, so that one that is too large
  // gets the same answer as from a gateway, which reads them all.
  server.removeContentTypeParser('text/plain')
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) =>
    done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE()),
  )
  server.setValidatorCompiler(validatorCompiler())
  server.setSerializerCompiler(serializerCompiler)
  server.setErrorHandler((error, request, reply) => sendProblem(error, request, reply))
  server.setNotFoundHandler(notFound)
  server.decorateRequest('context', null as unknown as RequestContext)
  server.decorateRequest('routeConfig', null as unknown as FastifyContextConfig)
  server.decorateRequest('answered', false)
  server.decorateRequest('identity', null)
  server.decorateRequest('ownerKnown', false)
  server.decorate('draining', false)
  server.decorate('ahead', ahead)
  // They may be ignored (RFC 9110, 10.1.1). Node would refuse them with an answer that has no body.
  server.server.on('checkExpectation', (request, reply) => server.server.emit('request', request, reply))
  server.addHook('onRequest', (request, reply, done) => {
    request.context = RequestContext.of(request)
    request.routeConfig = request.routeOptions.config
    if (tracing.tracer) beginSpan(request, reply)
    // Not onRequestAbort: it does not run any more when the body has been read.
    const began = performance.now()
    reply.raw.on('close', () => {
      request.context.end()
      statistics?.ended(request, reply, isOfEvents(reply) ? undefined : performance.now() - began)
    })
    reply.header('x-request-id', request.id)
    if (server.draining) reply.header('connection', 'close')
    const { headers, httpVersion } = request.raw
    const isLost = headers.host === undefined && httpVersion === '1.1'
    done(isLost ? new BadInput('seam', [{ path: '/header/host', message: 'is missing' }]) : undefined)
  })
  // The body has been read by now; events of its stream would have lost the context.
  server.addHook('preValidation', (request, reply, done) => {
    if (isAmbiguous(request.url)) return done(new NotFound())
    ensureAcceptable(request)
    if (!request.routeConfig.stream) request.context.await({ expire: () => answerLate(request, reply) })
    request.context.run(done)
  })
  server.addHook('onSend', (request, _reply, _payload, done) => {
    request.answered = true
    done()
  })
  compressAnswers(server)
  if (LOGGED.has(options.log.level))
    server.addHook('onResponse', (request, reply, done) => {
      const { id: requestId, method, context } = request
      // What follows is about people, now and then: whom they look for, what proves who they are.
      const [url] = request.url.split('?', 1)
      const ms = Math.round(reply.elapsedTime * 10) / 10
      options.log.info({ requestId, traceId: context.traceId, method, url, status: reply.statusCode, ms }, 'answered')
      done()
    })
  return server
}

function beginSpan(request: FastifyRequest, reply: FastifyReply): void {
  const { method, routeConfig, is404, id } = request
  const route = is404 ? 'none' : (routeConfig.url ?? 'none')
  const span = request.context.begin(`${method} ${route}`, 'server', {
    'http.request.method': method,
    'http.route': route,
    'seam.request_id': id,
  })
  if (!span) return
  reply.raw.on('close', () => {
    const { statusCode, writableFinished } = reply.raw
    if (writableFinished) span.note({ 'http.response.status_code': statusCode })
    span.end(writableFinished ? (statusCode < 500 ? undefined : String(statusCode)) : 'gone')
  })
}

/**
 * When the deadline has passed, whoever asked hears so, whatever the route still waits for. An answer that is made is sent. One
 * that has begun is cut off, unless it is one of events, which go on and on: a gateway learns only from the answer that it
 * is one.
 */
function answerLate(request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = reply
  if (raw.destroyed || raw.writableEnded || isOfEvents(reply)) return
  if (reply.sent || raw.headersSent) raw.destroy()
  else if (!request.answered) sendProblem(new DeadlineExceeded(request.routeConfig.module ?? 'seam'), request, reply)
}

const isOfEvents = (reply: FastifyReply): boolean =>
  String(reply.getHeader('content-type')).startsWith('text/event-stream')

/** The most parts (values in objects and arrays, at any depth) of a body in which all faults are looked for. */
const MANY_PARTS = 1_000

function isSmall(value: unknown): boolean {
  const left = [value]
  let parts = 0
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (typeof next !== 'object' || next === null) continue
    for (const key in next) {
      if (++parts > MANY_PARTS) return false
      left.push((next as Record<string, unknown>)[key])
    }
  }
  return true
}

/**
 * Bodies must have the declared types; what comes as text (query, path, headers) is converted to them first. Schemas are
 * compiled when they are first needed: to compile those of all routes took a tenth of the start.
 */
function validatorCompiler() {
  const strict = { first: createAjv({ useDefaults: true, allErrors: false }), all: createAjv({ useDefaults: true }) }
  const text = createAjv({ useDefaults: true, coerceTypes: 'array' })
  return ({ schema, httpPart }: { schema: object; httpPart?: string }) => {
    const isBody = httpPart === 'body'
    const check = lazily(() => (isBody ? strict.first : text).compile(schema))
    const find = lazily(() => strict.all.compile(schema))
    return (value: unknown) => {
      if (check()(value)) {
        const faults = textFaults(value)
        return faults.length > 0 ? { error: faults } : true
      }
      // To find everything that is wrong with a huge body would keep all others waiting.
      if (!isBody || !isSmall(value) || find()(value)) return { error: check().errors ?? [] }
      return { error: find().errors ?? [] }
    }
  }
}

/** Answers are written by their schema, which is compiled for the first of them. */
function serializerCompiler({ schema }: { schema: unknown }): (value: unknown) => string {
  const stringify = lazily(() => fastJsonStringify(schema as object))
  return (value) => stringify()(value)
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}
