import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Redis } from 'ioredis'
import { LruMap } from 'toad-cache'
import { TooManyRequests } from '../../kit/errors.ts'

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
export async function limitRequests(
  server: FastifyInstance,
  options: { perMinute: number | undefined; attemptsPerMinute: number; redis: Redis | undefined },
): Promise<void> {
  const { perMinute } = options
  const addressOf = networks()
  await server.register(rateLimit, {
    global: false,
    timeWindow: MINUTE,
    nameSpace: 'seam:limit:',
    ...(options.redis && { redis: options.redis }),
    skipOnError: true,
  })
  if (perMinute !== undefined) {
    const count = server.createRateLimit({
      max: perMinute,
      keyGenerator: (request) => request.identity?.userId ?? addressOf(request),
    })
    const policy = `"caller";q=${perMinute};w=${MINUTE / 1000}`
    server.addHook('onRequest', async (request, reply) => {
      if (request.vouched) return
      const counted = await count(request)
      if (counted.isAllowed) return
      reply.header('ratelimit-policy', policy)
      reply.header('ratelimit', `"caller";r=${counted.remaining};t=${counted.ttlInSeconds}`)
      refuseIfTooOften(counted, reply)
    })
  }
  server.addHook('onRoute', (route) => {
    const { limit } = route.config ?? {}
    if (!limit) return
    const account = limit.account ? attempts(server, options.attemptsPerMinute, route, limit.account) : undefined
    const address = attempts(server, options.attemptsPerMinute, route, addressOf)
    route.preHandler = [...[route.preHandler ?? []].flat(), address, ...(account ? [account] : [])]
  })
}

/** Counts the attempts at one route by what `of` finds in a request. */
function attempts(
  server: FastifyInstance,
  perMinute: number,
  { url }: RouteOptions,
  of: (request: FastifyRequest) => string | undefined,
) {
  const count = server.createRateLimit({
    max: perMinute,
    timeWindow: MINUTE,
    allowList: (request) => of(request) === undefined,
    keyGenerator: (request) => `${url} ${of(request)}`,
  })
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const counted = await count(request)
    if (!counted.isAllowed) refuseIfTooOften(counted, reply)
  }
}

/** @throws {TooManyRequests} */
function refuseIfTooOften(counted: { isExceeded: boolean; ttlInSeconds: number }, reply: FastifyReply): void {
  if (!counted.isExceeded) return
  reply.header('retry-after', counted.ttlInSeconds)
  throw new TooManyRequests(counted.ttlInSeconds)
}

/**
 * What a request's address counts as: itself, or in IPv6 its network (/64), for whoever has one address there has them all.
 * IPv4 addresses in the form of IPv6 (`::ffff:192.0.2.1`) are IPv4. The library takes 10 µs to find that out, so it is
 * remembered.
 */
function networks(): (request: FastifyRequest) => string {
  const known = new LruMap<string>(REMEMBERED)
  return (request) => {
    // A client that has gone already has no address any more.
    const address = request.ip ?? ''
    if (!address.includes(':')) return address
    let network = known.get(address)
    if (!network) known.set(address, (network = normalizeIP(address)))
    return network
  }
}
