import { provideProgram } from './programs.ts'

/**
 * Finds an `nginx` for tests, which start it themselves, or has apt-get install it (as root on Debian and Ubuntu only).
 *
 * @returns its path
 * @throws Error in one line that says how to get it
 */
export const provideNginx = (log?: (line: string) => void): Promise<string> =>
  provideProgram(
    {
      names: ['nginx'],
      package: 'nginx-light',
      advice: 'The tests need nginx: install it (Debian: apt-get install nginx-light).',
    },
    log,
  )
