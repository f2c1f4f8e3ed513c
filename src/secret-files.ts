import { readFileSync } from 'node:fs'

/**
 * Secrets may be in files, as Docker and Kubernetes hand them out: where `SECRET_FILE` is set, `SECRET` is what that file
 * says.
 *
 * @param names the variables that are secrets
 * @returns the values by the names of their variables, and what is wrong with the files
 * @example secretFiles({ SECRET_FILE: '/run/secrets/secret' }, ['SECRET']).values.SECRET
 */
export function secretFiles(
  environment: NodeJS.ProcessEnv,
  names: readonly string[],
): { values: Record<string, string>; faults: string[] } {
  const values: Record<string, string> = {}
  const faults: string[] = []
  for (const name of names) {
    const file = environment[`${name}_FILE`]?.trim()
    if (!file) continue
    const fault = (what: string) =>
      faults.push(`${name}_FILE ${what}. Example: ${name}_FILE=/run/secrets/${name.toLowerCase().replaceAll('_', '-')}`)
    if (environment[name]?.trim()) {
      fault(`is set, and so is ${name}: only one of them can be`)
      continue
    }
    try {
      const value = readFileSync(file, 'utf8').trim()
      if (value) values[name] = value
      else fault(`is "${file}": there is nothing in that file`)
    } catch (error) {
      fault(`is "${file}": it cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
  }
  return { values, faults }
}
