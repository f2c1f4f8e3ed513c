import { provideProgram } from './programs.ts'

/**
 * Finds a `dnsmasq` for tests, which start it themselves, or has apt-get install it (as root on Debian and Ubuntu only).
 *
 * @returns its path
 * @throws Error in one line that says how to get it
 */
export const provideDnsmasq = (log?: (line: string) => void): Promise<string> =>
  provideProgram(
    {
      names: ['dnsmasq'],
      package: 'dnsmasq-base',
      advice: 'The tests need dnsmasq: install it (Debian: apt-get install dnsmasq-base).',
    },
    log,
  )
