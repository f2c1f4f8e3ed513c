import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'

/**
 * A client for what a request waits for (sessions, limits): it fails fast rather than keep the request waiting.
 * It connects by itself, again and again; each failure is logged at `debug`, the state of affairs shows in `/api/health`.
 */
export function requestRedis(url: string, log: FastifyBaseLogger): Redis {
  const redis = new Redis(url, { connectTimeout: 2_000, commandTimeout: 1_000, maxRetriesPerRequest: 1 })
  redis.on('error', (error) => log.debug({ err: error }, 'Redis'))
  return redis
}
