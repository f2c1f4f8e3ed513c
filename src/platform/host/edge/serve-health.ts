import type { FastifyInstance } from 'fastify'
import type { SystemHealth } from '../health.ts'

/** `GET /api/health`: how every module is, wherever it runs. 200 when all are well, else 503; within 1 s. */
export function serveHealth(server: FastifyInstance, health: () => Promise<SystemHealth>): void {
  server.get('/api/health', { config: { allow: 'anyone' } }, async (_request, reply) => {
    const answer = await health()
    return reply
      .code(answer.status === 'healthy' ? 200 : 503)
      .header('cache-control', 'no-store')
      .send(answer)
  })
}
