import type { FastifyBaseLogger } from 'fastify'
import { Redis } from 'ioredis'

/**
 * A client for what a request waits for (sessions, limits): it fails fast rather than keep the request waiting.
 * It connects by itself, again and again; while it is away, commands fail at once. Failures are logged at `debug`.
 */
export function requestRedis(url: string, log: FastifyBaseLogger): Redis {
  const redis = new Redis(url, {
    connectTimeout: 2_000,
    commandTimeout: 500,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
  })
  redis.on('error', (error) => log.debug({ err: error }, 'Redis'))
  return redis
}
