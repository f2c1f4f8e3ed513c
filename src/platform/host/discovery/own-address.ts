import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'

/** Addresses that are listened on, but that nobody can reach. */
export const isWildcard = (host: string): boolean => /^(0\.0\.0\.0|0|::|\[::\]|0:0:0:0:0:0:0:0)$/.test(host)

/**
 * Where other machines reach this process: what it was told, else where it listens, else, if it listens everywhere, its
 * first address that is no loopback (IPv4 before IPv6). Undefined where there is none.
 */
export function ownAddress(host: string, advertised: string | undefined): string | undefined {
  if (advertised) return advertised
  if (!isWildcard(host)) return host
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !(isIP(address) === 6 && address.startsWith('fe80')))
  return (outside.find(({ family }) => family === 'IPv4') ?? outside[0])?.address
}
