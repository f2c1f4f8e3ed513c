import { NODATA, NOTFOUND, type SrvRecord } from 'node:dns'
import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../within.ts'
import type { Discovery, Endpoint } from './discovery.ts'
import { KnownEndpoints } from './known-endpoints.ts'

/** A start waits so long for first answers, in milliseconds. */
const PATIENCE = 3_000
/** The shortest and the longest time for which an answer is believed, in seconds, whatever its TTL says. */
const TTL = { floor: 1, ceiling: 30 }
/** SRV records are believed so long at most, in seconds: Node does not tell their TTL, only that of their targets' addresses. */
const STANDARD_TTL = 10
/** After a failure it is asked again in 1 s, 2 s, 4 s … and at last this many seconds. */
const SLOWEST_RETRY = 10
/** Of one name, or of the targets of one SRV name, no more are used. */
const MOST = 100

/** What came of asking once for all that a module's names lead to. */
interface Round {
  /** Whatever was asked, with what is believed of it now. */
  readonly answers: Map<string, readonly unknown[]>
  /** How long the answers may be believed, in seconds. */
  ttl: number
  /** Whether DNS said anything that can be used. */
  fresh: boolean
  error: unknown
}

/**
 * Instances by their names in DNS, asked again whenever an answer has lost its TTL (1 s to 30 s). While DNS fails, the last
 * good answer holds.
 *
 * - `http://users.internal:8000`: each address of the name (A and AAAA) is an instance, at this port.
 * - `srv://_http._tcp.users.internal`: SRV records, with port, priority and weight. `_https` as the service means https.
 * - `https:` keeps names instead of addresses, because certificates are made out to them: `https://users.internal` is one
 *   instance, however many addresses it has.
 *
 * Names are asked for as they are: without search domains, and without the hosts file.
 *
 * @param options.servers for tests: `127.0.0.1:5353` (default: those of the system)
 */
export function dnsDiscovery(options: {
  urls: ReadonlyMap<string, readonly string[]>
  log: FastifyBaseLogger
  servers?: readonly string[]
}): Discovery {
  const known = new KnownEndpoints('DNS', options.log)
  const lookups = [...options.urls].map(([module, urls]) => new Lookup(module, urls, known, options.servers))
  return {
    async start() {
      await within(PATIENCE, Promise.all(lookups.map((lookup) => lookup.run())))
    },
    endpointsOf: (module) => known.of(module),
    async register() {},
    async deregister() {},
    async close() {
      for (const lookup of lookups) lookup.close()
    },
  }
}

/** Asks for one module's names, over and over. */
class Lookup {
  readonly #module: string
  readonly #urls: readonly string[]
  readonly #known: KnownEndpoints
  readonly #resolver = new Resolver({ timeout: 1_000, tries: 2 })
  /** What was last believed, by question: where one of several fails, its part of the whole stays as it was. */
  #last: ReadonlyMap<string, readonly unknown[]> = new Map()
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(module: string, urls: readonly string[], known: KnownEndpoints, servers?: readonly string[]) {
    this.#module = module
    this.#urls = urls
    this.#known = known
    if (servers) this.#resolver.setServers(servers)
  }

  /** Asks now and from now on. Resolves after the first answer, good or bad; never rejects. */
  async run(): Promise<void> {
    const round: Round = { answers: new Map(), ttl: TTL.ceiling, fresh: false, error: undefined }
    const endpoints = (await Promise.all(this.#urls.map((url) => this.#resolve(url, round)))).flat()
    if (this.#closed) return
    const good = round.fresh && endpoints.length > 0
    if (good) {
      this.#last = round.answers
      this.#failures = 0
      this.#known.found(this.#module, endpoints)
    } else {
      this.#known.failed(this.#module, round.error ?? new Error('DNS names no instance.'))
    }
    const seconds = good ? Math.max(TTL.floor, round.ttl) : Math.min(SLOWEST_RETRY, 2 ** this.#failures++)
    this.#timer = setTimeout(() => void this.run(), seconds * 1_000).unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#resolver.cancel()
  }

  async #resolve(url: string, round: Round): Promise<Endpoint[]> {
    const { protocol, hostname, port, origin } = new URL(url)
    if (protocol === 'srv:') return this.#resolveService(hostname, round)
    if (protocol === 'https:' || isIP(hostname.replace(/^\[|\]$/g, ''))) {
      round.fresh = true
      return [{ origin, weight: 1, priority: 0 }]
    }
    const addresses = await this.#resolveHost(hostname, round)
    return addresses.flatMap((address) => endpoint('http', address, port))
  }

  async #resolveService(name: string, round: Round): Promise<Endpoint[]> {
    const records = await this.#query(`SRV ${name}`, round, () => this.#resolver.resolveSrv(name))
    round.ttl = Math.min(round.ttl, STANDARD_TTL)
    if (name.startsWith('_https.'))
      return records.flatMap((record) => endpoint('https', record.name, record.port, record))
    const found = records.map(async (record) => {
      const addresses = await this.#resolveHost(record.name, round)
      return addresses.flatMap((address) => endpoint('http', address, record.port, record))
    })
    return (await Promise.all(found)).flat()
  }

  /** All addresses of a name, of both kinds. */
  async #resolveHost(name: string, round: Round): Promise<string[]> {
    const families = [
      this.#query(`A ${name}`, round, () => this.#resolver.resolve4(name, { ttl: true })),
      this.#query(`AAAA ${name}`, round, () => this.#resolver.resolve6(name, { ttl: true })),
    ]
    const records = (await Promise.all(families)).flat()
    round.ttl = Math.min(round.ttl, ...records.map(({ ttl }) => ttl))
    return records.map(({ address }) => address)
  }

  /** Asks one question; where it fails, the answer is the last one. That there is no such record is an answer, too. */
  async #query<T>(question: string, round: Round, ask: () => Promise<T[]>): Promise<readonly T[]> {
    let records: readonly T[] = []
    try {
      records = (await ask()).slice(0, MOST)
      round.fresh ||= records.length > 0
    } catch (error) {
      round.error = error
      const { code } = error as NodeJS.ErrnoException
      if (code !== NODATA && code !== NOTFOUND) records = (this.#last.get(question) ?? []) as readonly T[]
    }
    round.answers.set(question, records)
    return records
  }
}

/** Nothing where DNS names something that no address can be made of. */
function endpoint(
  scheme: 'http' | 'https',
  host: string,
  port: string | number,
  { weight, priority }: Pick<SrvRecord, 'weight' | 'priority'> = { weight: 1, priority: 0 },
): Endpoint[] {
  const url = `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}${port === '' ? '' : `:${port}`}`
  return URL.canParse(url) ? [{ origin: new URL(url).origin, weight, priority }] : []
}
