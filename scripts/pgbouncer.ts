import { provideProgram } from './programs.ts'

/**
 * Finds a `pgbouncer` for tests, which start it themselves, or has apt-get install it (as root on Debian and Ubuntu only).
 *
 * @returns its path
 * @throws Error in one line that says how to get it
 */
export const providePgbouncer = (log?: (line: string) => void): Promise<string> =>
  provideProgram(
    {
      names: ['pgbouncer'],
      package: 'pgbouncer',
      advice: 'The tests need PgBouncer: install it (Debian: apt-get install pgbouncer).',
    },
    log,
  )
