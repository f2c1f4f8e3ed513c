import { Ajv } from 'ajv'
import formats from 'ajv-formats'
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import { RequestContext, requestIdOf } from '../request-context.ts'
import { notFound, sendProblem } from './problems.ts'

/** The largest body that is read, in bytes: 1 MiB. */
export const BODY_LIMIT = 1024 * 1024

declare module 'fastify' {
  interface FastifyRequest {
    /** What goes along with this request. */
    context: RequestContext
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
}): FastifyInstance {
  const server = fastify({
    loggerInstance: options.log,
    logController: new LogController({ requestIdLogLabel: 'requestId', disableRequestLogging: true }),
    trustProxy: options.trustProxy === true || (options.trustProxy.length > 0 && [...options.trustProxy]),
    bodyLimit: BODY_LIMIT,
    // Longer than a proxy in front keeps its connections (nginx: 60 s), so that it never writes into a closing one.
    keepAliveTimeout: 75_000,
    requestTimeout: 30_000,
    connectionTimeout: 0,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    genReqId: (request) => requestIdOf(request.headers['x-request-id']) ?? crypto.randomUUID(),
    frameworkErrors: sendProblem,
    routerOptions: { maxParamLength: 200 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
  })
  server.setValidatorCompiler(validatorCompiler())
  server.setErrorHandler((error, request, reply) => sendProblem(error, request, reply))
  server.setNotFoundHandler(notFound)
  server.decorateRequest('context', null as unknown as RequestContext)
  server.decorateRequest('identity', null)
  server.decorate('draining', false)
  server.addHook('onRequest', (request, reply, done) => {
    request.context = new RequestContext({
      requestId: request.id,
      traceparent: request.headers.traceparent as string | undefined,
    })
    reply.header('x-request-id', request.id)
    if (server.draining) reply.header('connection', 'close')
    done()
  })
  // The body has been read by now; events of its stream would have lost the context.
  server.addHook('preValidation', (request, _reply, done) => request.context.run(done))
  server.addHook('onResponse', (request, reply, done) => {
    request.context.end()
    const { method, url } = request
    request.log.info({ method, url, status: reply.statusCode, ms: Math.round(reply.elapsedTime * 10) / 10 }, 'answered')
    done()
  })
  server.addHook('onRequestAbort', (request, done) => {
    request.context.end()
    done()
  })
  return server
}

/** Bodies must have the declared types; what comes as text (query, path, headers) is converted to them first. */
function validatorCompiler() {
  const options = { allErrors: true, strict: false, useDefaults: true, removeAdditional: false }
  const strict = new Ajv({ ...options, coerceTypes: false })
  const text = new Ajv({ ...options, coerceTypes: 'array' })
  formats.default(strict)
  formats.default(text)
  return ({ schema, httpPart }: { schema: object; httpPart?: string }) =>
    (httpPart === 'body' ? strict : text).compile(schema)
}
