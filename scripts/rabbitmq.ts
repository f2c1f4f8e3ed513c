import { realpath } from 'node:fs/promises'
import { provideProgram } from './programs.ts'

/**
 * Finds a `rabbitmq-server` for tests, which start it themselves, or has apt-get install it (as root on Debian and Ubuntu
 * only).
 *
 * @returns its path
 * @throws Error in one line that says how to get it
 */
export async function provideRabbitmq(log?: (line: string) => void): Promise<string> {
  const program = await provideProgram(
    {
      names: ['rabbitmq-server'],
      package: 'rabbitmq-server',
      advice: 'The tests need RabbitMQ: install it (Debian: apt-get install rabbitmq-server).',
    },
    log,
  )
  // Debian's is a wrapper that becomes another user, to whom the folders of a test do not belong.
  return realpath(program).then((path) => (path.endsWith('script-wrapper') ? DEBIAN : program))
}

const DEBIAN = '/usr/lib/rabbitmq/bin/rabbitmq-server'
