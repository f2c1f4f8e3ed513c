import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import { LruMap } from 'toad-cache'
import { SeamError } from '../../kit/errors.ts'

/** Stands for all that another process of the system has limited already. No address and no user has this name. */
const VOUCHED = 'vouched'

/** How many addresses are remembered, not to be taken apart again. */
const REMEMBERED = 5_000

/**
 * Limits how often one caller (a user, else an address) may ask in a minute. The counters are shared by all replicas
 * where there is Redis; when Redis fails, requests pass. What another process of the system has limited is not counted again.
 */
export async function limitRequests(
  server: FastifyInstance,
  options: { perMinute: number; redis: Redis | undefined },
): Promise<void> {
  const networkOf = networks()
  const caller = (request: FastifyRequest) => {
    if (request.vouched) return VOUCHED
    // A client that has gone already has no address any more.
    return request.identity?.userId ?? networkOf(request.ip ?? '')
  }
  await server.register(rateLimit, {
    global: true,
    max: options.perMinute,
    timeWindow: 60_000,
    nameSpace: 'seam:limit:',
    ...(options.redis && { redis: options.redis }),
    skipOnError: true,
    keyGenerator: caller,
    // A list and not a function, which the plugin would wait for.
    allowList: [VOUCHED],
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

/**
 * What an address counts as: itself, or in IPv6 its network (/64), for whoever has one address there has them all. IPv4
 * addresses in the form of IPv6 (`::ffff:192.0.2.1`) are IPv4. The library takes 10 µs to find that out, so it is remembered.
 */
function networks(): (address: string) => string {
  const known = new LruMap<string>(REMEMBERED)
  return (address) => {
    if (!address.includes(':')) return address
    let network = known.get(address)
    if (!network) known.set(address, (network = normalizeIP(address)))
    return network
  }
}
