import { provideProgram } from './programs.ts'

const wanted = (name: string) => ({
  names: [name],
  package: 'prometheus',
  advice: `The tests need ${name}: install Prometheus (Debian: apt-get install prometheus).`,
})

/**
 * Finds a `prometheus` and its `promtool` for tests, or has apt-get install them (as root on Debian and Ubuntu only).
 *
 * @returns their paths
 * @throws Error in one line that says how to get them
 */
export async function providePrometheus(
  log?: (line: string) => void,
): Promise<{ prometheus: string; promtool: string }> {
  return {
    prometheus: await provideProgram(wanted('prometheus'), log),
    promtool: await provideProgram(wanted('promtool'), log),
  }
}
