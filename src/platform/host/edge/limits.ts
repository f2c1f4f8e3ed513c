import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import { SeamError } from '../../kit/errors.ts'

/**
 * Limits how often one caller (a user, else an address) may ask in a minute. The counters are shared by all replicas
 * where there is Redis; when Redis fails, requests pass. What another process of the system has limited is not counted again.
 */
export async function limitRequests(
  server: FastifyInstance,
  options: { perMinute: number; redis: Redis | undefined },
): Promise<void> {
  await server.register(rateLimit, {
    global: true,
    max: options.perMinute,
    timeWindow: 60_000,
    nameSpace: 'seam:limit:',
    ...(options.redis && { redis: options.redis }),
    skipOnError: true,
    keyGenerator: (request) => request.identity?.userId ?? request.ip,
    allowList: (request) => request.vouched,
    enableDraftSpec: true,
    errorResponseBuilder: (_request, { ttl }) =>
      new SeamError({
        module: 'seam',
        code: 'TooManyRequests',
        status: 429,
        message: `That was too often. Try again in ${Math.ceil(ttl / 1000)} s.`,
      }),
  })
}
