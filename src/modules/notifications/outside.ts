import { type LookupAddress, lookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import type { Agent } from 'undici'
import { NotYet, Refused } from './delivery.ts'

/** Milliseconds that one request may take. */
const PATIENCE = 5_000
/** The most that is read of an answer, in bytes; nobody needs its words. */
const ANSWER = 64 * 1024

/** A service of somebody else's, spoken to by HTTP. */
export interface Outside {
  /**
   * Sends a POST; follows no redirects.
   *
   * @throws {Refused} when it is answered with 4xx (but 408 and 429), or when the address is not a public one
   * @throws {NotYet} when it is answered with `Retry-After`
   * @throws {Error} whatever else went wrong: to try again later may help
   */
  post(url: string, headers: Record<string, string>, body: string | Buffer, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

/** What {@link Outside.post} throws when the answer was 404 or 410: there is nobody at this address (any more). */
export class Gone extends Refused {}

/**
 * @param anywhere whether addresses of private networks will do. If not, a name is judged by what it resolves to for
 *   the very connection, so that it cannot turn into another address between the check and the use.
 */
export function outside({ anywhere }: { anywhere: boolean }): Outside {
  let agent: Promise<Agent> | undefined
  const lookUp = anywhere ? (lookup as LookupFunction) : publicLookup
  // Loaded when it is first needed: it takes 60 ms and 6 MB.
  const open = async () => {
    const { Agent } = await import('undici')
    return new Agent({
      connect: { timeout: PATIENCE, lookup: lookUp },
      connections: 8,
      headersTimeout: PATIENCE,
      bodyTimeout: PATIENCE,
      maxResponseSize: ANSWER,
    })
  }

  return {
    async post(url, headers, body, signal) {
      const { origin, pathname, search, hostname, username, password } = new URL(url)
      if (!anywhere && !isPublicHost(hostname)) throw new Refused(`${hostname} is not a public address.`)
      const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
      agent ??= open()
      const answer = await (await agent).request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: { ...headers, ...(username && { authorization: `Basic ${basic}` }) },
        body,
        signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
      })
      const { statusCode: status } = answer
      // The status has decided already.
      await answer.body.dump({ limit: ANSWER }).catch(() => {})
      if (status >= 200 && status < 300) return
      const words = `The answer was ${status}.`
      if (status === 404 || status === 410) throw new Gone(words)
      if (status >= 400 && status < 500 && status !== 408 && status !== 429) throw new Refused(words)
      const seconds = secondsOf([answer.headers['retry-after']].flat()[0])
      throw seconds > 0 ? new NotYet(words, seconds) : new Error(words)
    },

    async close() {
      await (await agent)?.destroy()
    },
  }
}

/** `Retry-After` as seconds from now, at most a day; 0 when it says nothing. */
function secondsOf(header: string | undefined): number {
  if (header === undefined) return 0
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000
  return seconds > 0 ? Math.min(seconds, 86_400) : 0
}

/** Special-purpose addresses of https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast. */
const NOT_PUBLIC = new BlockList()
for (const cidr of [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]) {
  const [address = '', bits] = cidr.split('/')
  NOT_PUBLIC.addSubnet(address, Number(bits), 'ipv4')
}
/** In IPv6 what is public is one block, but for the ways in it that lead to IPv4, and examples. */
const PUBLIC_6 = new BlockList()
PUBLIC_6.addSubnet('2000::', 3, 'ipv6')
for (const [address, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  NOT_PUBLIC.addSubnet(address, bits, 'ipv6')

/** Whether an IP address is one of the public Internet. */
function isPublic(address: string): boolean {
  if (isIP(address) === 4) return !NOT_PUBLIC.check(address)
  return PUBLIC_6.check(address, 'ipv6') && !NOT_PUBLIC.check(address, 'ipv6')
}

/** Whether the host of a URL may be one of the public Internet; a name is judged when it is resolved. */
export function isPublicHost(hostname: string): boolean {
  const address = hostname.replace(/^\[|\]$/g, '')
  return isIP(address) === 0 || isPublic(address)
}

const publicLookup: LookupFunction = (hostname, options, done) => {
  lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
    if (error) return done(error, '', 0)
    const [first, ...others] = addresses.filter(({ address }) => isPublic(address))
    if (!first) return done(new Refused(`${hostname} is not a public address.`), '', 0)
    if (options.all) (done as unknown as (error: null, all: LookupAddress[]) => void)(null, [first, ...others])
    else done(null, first.address, first.family)
  })
}
