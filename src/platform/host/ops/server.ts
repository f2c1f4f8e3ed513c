import fastify, { type FastifyInstance } from 'fastify'
import { collectDefaultMetrics, type Registry } from 'prom-client'

/** Whether this process should be sent requests; it falls first when the process is to end. */
export interface Readiness {
  ready: boolean
}

/**
 * The listener for operators, apart from the API: `/livez` (this process answers), `/readyz` (it should be sent requests),
 * `/metrics` (Prometheus text).
 */
export function createOpsServer(options: { registry: Registry; readiness: Readiness }): FastifyInstance {
  const { registry, readiness } = options
  collectDefaultMetrics({ register: registry, prefix: 'seam_' })
  const server = fastify({ logger: false, forceCloseConnections: true })
  server.get('/livez', async () => ({ status: 'alive' }))
  server.get('/readyz', async (_request, reply) => {
    if (!readiness.ready) reply.code(503)
    return { status: readiness.ready ? 'ready' : 'not ready' }
  })
  server.get('/metrics', async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
  return server
}
