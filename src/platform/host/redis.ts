import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Redis } from 'ioredis'
import { RequestContext } from './request-context.ts'
import { spanBelow, tracing } from './tracing/tracer.ts'

/**
 * A client for what a request waits for (sessions, limits): it fails fast rather than keep the request waiting.
 * It connects by itself, again and again; while it is away, commands fail at once. Failures are logged at `debug`.
 */
export function requestRedis(url: string, log: FastifyBaseLogger): Redis {
  const redis = new TracedRedis(url, {
    connectTimeout: 2_000,
    commandTimeout: 500,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
  })
  redis.on('error', (error) => log.debug({ err: error }, 'Redis'))
  return redis
}

/** A span for each command of a request, by its name alone: arguments are ids of sessions. */
class TracedRedis extends Redis {
  override sendCommand(...[command, stream]: Parameters<Redis['sendCommand']>): unknown {
    const context = tracing.tracer && RequestContext.current()
    const span =
      context?.span &&
      spanBelow(context.traceparent, command.name.toUpperCase(), 'client', { 'db.system.name': 'redis' })
    if (span)
      command.promise.then(
        () => span.end(),
        (error) => span.end(error),
      )
    return super.sendCommand(command, stream)
  }
}

/** Nobody waits for what is away, and a connection on which nothing comes back is given up. */
const FOR_CACHE = {
  connectTimeout: 2_000,
  socketTimeout: 2_000,
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  enableAutoPipelining: true,
}

/**
 * A client for the cache: while Redis is away, commands fail at once; commands of one turn travel together.
 *
 * @param urls one node, or several of a cluster, all with the user, the password and the protocol of the first
 */
export function cacheRedis(urls: readonly string[], log: FastifyBaseLogger): Redis | Cluster {
  const redis = urls.length === 1 ? new Redis(urls[0]!, FOR_CACHE) : clusterOf(urls)
  redis.on('error', (error) => log.debug({ err: error }, 'Redis of the cache'))
  return redis
}

function clusterOf(urls: readonly string[]): Cluster {
  const { username, password, protocol } = new URL(urls[0]!)
  return new Cluster([...urls], {
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    redisOptions: {
      ...FOR_CACHE,
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' && { tls: {} }),
    },
  })
}
