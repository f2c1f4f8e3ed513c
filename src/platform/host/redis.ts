import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { RequestContext } from './request-context.ts'
import { spanBelow, tracing } from './tracing/tracer.ts'

/** A client of one server, or of a cluster. */
export type RedisClient = Redis | Cluster

/**
 * A client for what a request waits for (sessions, limits): it fails fast rather than keep the request waiting.
 *
 * @param urls as for {@link connectTo}
 */
export function requestRedis(urls: readonly string[], log: FastifyBaseLogger): RedisClient {
  const options = { connectTimeout: 2_000, commandTimeout: 500, maxRetriesPerRequest: 1, enableOfflineQueue: false }
  return connectTo(urls, options, { log, traced: true })
}

/**
 * A client for the cache: nobody waits for what is away, a connection on which nothing comes back is given up, and commands
 * of one turn travel together.
 *
 * @param urls as for {@link connectTo}
 */
export function cacheRedis(urls: readonly string[], log: FastifyBaseLogger): RedisClient {
  const options = {
    connectTimeout: 2_000,
    socketTimeout: 2_000,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
  }
  return connectTo(urls, options, { log })
}

type Options = Omit<RedisOptions, 'replyMapping'>

/** How often a command follows a cluster that changes, each time after 100 ms: longer than that a request does not wait. */
const FOLLOWS = 5

/**
 * Makes a client that connects by itself, again and again; with `enableOfflineQueue: false` commands fail at once while it
 * is away. Failures are logged at `debug`.
 *
 * @param urls one server, or several nodes of a cluster, all with the user, the password and the protocol of the first
 */
export function connectTo(
  urls: readonly string[],
  options: Options,
  { log, traced = false }: { log: FastifyBaseLogger; traced?: boolean },
): RedisClient {
  const redis =
    urls.length === 1
      ? new (traced ? TracedRedis : Redis)(urls[0]!, options)
      : new (traced ? TracedCluster : Cluster)([...urls], inCluster(urls[0]!, options))
  redis.on('error', (error) => log.debug({ err: error }, 'Redis'))
  return redis
}

/** The addresses in URLs, for people: without passwords. */
export const addressesOf = (urls: readonly string[]): string => urls.map((url) => new URL(url).host).join(', ')

function inCluster(url: string, options: Options) {
  const { username, password, protocol } = new URL(url)
  const { enableOfflineQueue = true, enableAutoPipelining = false, ...redisOptions } = options
  return {
    enableOfflineQueue,
    enableAutoPipelining,
    maxRedirections: FOLLOWS,
    redisOptions: {
      ...redisOptions,
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...(protocol === 'rediss:' && { tls: {} }),
    },
  }
}

type Command = Parameters<Redis['sendCommand']>[0]

class TracedRedis extends Redis {
  override sendCommand(...[command, stream]: Parameters<Redis['sendCommand']>): unknown {
    trace(command)
    return super.sendCommand(command, stream)
  }
}

class TracedCluster extends Cluster {
  override sendCommand(...[command, stream, node]: Parameters<Cluster['sendCommand']>): unknown {
    // With a node it is tried again.
    if (!node) trace(command)
    return super.sendCommand(command, stream, node)
  }
}

/** Has a command of a request be a span, by its name alone: arguments are ids of sessions. */
function trace(command: Command): void {
  const context = tracing.tracer && RequestContext.current()
  const span =
    context?.span && spanBelow(context.traceparent, command.name.toUpperCase(), 'client', { 'db.system.name': 'redis' })
  if (span)
    command.promise.then(
      () => span.end(),
      (error) => span.end(error),
    )
}
