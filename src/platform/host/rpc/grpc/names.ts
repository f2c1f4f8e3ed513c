/** Names that are taken, without regard to case: languages write them in different ways. */
export type Names = Set<string>

/** `firstName` -> `first_name`, as fields are called in Protocol Buffers. */
export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, '')

/** `first_name` -> `firstName`, as Protocol Buffers' own JSON calls a field. */
export const camelCase = (name: string): string => name.replace(/_+(.?)/g, (_all, letter) => letter.toUpperCase())

/** `first_name`, `first-name`, `firstName` -> `FirstName`. */
export function pascalCase(name: string): string {
  const camel = camelCase(name.replaceAll('-', '_'))
  return camel.slice(0, 1).toUpperCase() + camel.slice(1)
}

/**
 * A name that is not taken yet, and takes it. What cannot be a name there, or is one already, gets the fallback.
 *
 * @param form what a name looks like
 */
export function take(names: Names, wanted: string, form: RegExp, fallback: string): string {
  let name = form.test(wanted) && !names.has(keyOf(wanted)) ? wanted : fallback
  while (names.has(keyOf(name))) name += 'x'
  names.add(keyOf(name))
  return name
}

const keyOf = (name: string): string => name.replaceAll('_', '').toLowerCase()
