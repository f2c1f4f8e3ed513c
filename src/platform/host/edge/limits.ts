import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify'
import ipaddr from 'ipaddr.js'
import { LruMap } from 'toad-cache'
import { TooManyRequests } from '../../kit/errors.ts'
import type { RedisClient } from '../redis.ts'
import { type Count, type Counted, countInMemory, countInRedis } from './counters.ts'

const MINUTE = 60_000
/** How many addresses are remembered, not to be taken apart again. */
const REMEMBERED = 5_000

/**
 * Limits how often one caller (a user, else an address) may ask in a minute, and how often anybody may try passwords
 * (routes with `limit`). Every answer says what is left, as draft-ietf-httpapi-ratelimit-headers has it. The counters are
 * shared by all replicas where there is Redis; when Redis fails, requests pass.
 *
 * @param options.perMinute undefined: only attempts are counted here, since an edge in front has counted the requests.
 *   What another process of the system has counted is not counted again.
 */
export function limitRequests(
  server: FastifyInstance,
  options: { perMinute: number | undefined; attemptsPerMinute: number; redis: RedisClient | undefined },
): void {
  const { perMinute, attemptsPerMinute, redis } = options
  const count = redis ? countInRedis(redis, MINUTE) : countInMemory(MINUTE)
  const addressOf = networks()
  if (perMinute !== undefined) {
    const policy = `"caller";q=${perMinute};w=${MINUTE / 1000}`
    server.addHook('onRequest', (request, reply, done) => {
      if (request.vouched) return done()
      count(request.identity?.userId ?? addressOf(request), (counted) => {
        if (!counted) return done()
        reply.header('ratelimit-policy', policy)
        reply.header('ratelimit', `"caller";r=${Math.max(0, perMinute - counted.count)};t=${counted.left}`)
        done(refusalOf(counted, perMinute, reply))
      })
    })
  }
  server.addHook('onRoute', (route) => {
    const { limit } = route.config ?? {}
    if (!limit) return
    const counted = [addressOf, ...(limit.account ? [limit.account] : [])]
    const attempts = counted.map((of) => countAttempts(count, attemptsPerMinute, route, of))
    route.preHandler = [...[route.preHandler ?? []].flat(), ...attempts]
  })
}

/** Counts the attempts at one route by what `of` finds in a request, if it finds anything. */
function countAttempts(
  count: Count,
  perMinute: number,
  { url }: RouteOptions,
  of: (request: FastifyRequest) => string | undefined,
): onRequestHookHandler {
  return (request, reply, done) => {
    const key = of(request)
    if (key === undefined) return done()
    count(`${url} ${key}`, (counted) => done(counted && refusalOf(counted, perMinute, reply)))
  }
}

function refusalOf({ count, left }: Counted, allowed: number, reply: FastifyReply): TooManyRequests | undefined {
  if (count <= allowed) return undefined
  reply.header('retry-after', left)
  return new TooManyRequests(left)
}

/**
 * What a request's address counts as: itself, or in IPv6 its network (/64), for whoever has one address there has them all.
 * IPv4 addresses in the form of IPv6 (`::ffff:192.0.2.1`) are IPv4. Remembered, because to find it out takes a while.
 */
function networks(): (request: FastifyRequest) => string {
  const known = new LruMap<string>(REMEMBERED)
  return (request) => {
    // A client that has gone already has no address any more.
    const address = request.ip ?? ''
    if (!address.includes(':')) return address
    let network = known.get(address)
    if (!network) known.set(address, (network = networkOf(address)))
    return network
  }
}

function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const found = ipaddr.process(address)
  if (!(found instanceof ipaddr.IPv6)) return found.toString()
  return new ipaddr.IPv6([...found.parts.slice(0, 4), 0, 0, 0, 0]).toString()
}
