import type { FastifyBaseLogger } from 'fastify'
import type { Discovery } from './discovery.ts'
import { staticDiscovery } from './static.ts'

/** How instances are found. */
export type DiscoveryChoice =
  | { readonly kind: 'static' }
  | {
      readonly kind: 'dns'
      /** Who is asked, for tests: `127.0.0.1:5353` (default: the servers of the system). */
      readonly servers?: readonly string[]
    }
  | {
      readonly kind: 'consul'
      /** The agent. */
      readonly url: string
      readonly token: string | undefined
      /** Where others reach this process. */
      readonly address: string
    }

/** The kind of discovery that was chosen. The others are not loaded. */
export async function chooseDiscovery(
  choice: DiscoveryChoice,
  options: {
    /** What the environment says of modules; what it means depends on the kind. */
    urls: ReadonlyMap<string, readonly string[]>
    /** Modules that run elsewhere and are needed here. */
    wanted: readonly string[]
    hosted: readonly string[]
    log: FastifyBaseLogger
  },
): Promise<Discovery> {
  const { wanted, hosted, log } = options
  const urls = new Map([...options.urls].filter(([module]) => wanted.includes(module)))
  if (choice.kind === 'dns') return (await import('./dns.ts')).dnsDiscovery({ ...choice, urls, log })
  if (choice.kind === 'static') return staticDiscovery(urls)
  const { consulDiscovery } = await import('./consul.ts')
  const serviceOf = (module: string) => options.urls.get(module)?.[0]?.replace('consul://', '') ?? module
  return consulDiscovery({ ...choice, serviceOf, wanted, hosted, log })
}
