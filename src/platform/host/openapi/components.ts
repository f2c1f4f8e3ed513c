import { isDeepStrictEqual } from 'node:util'

interface Components {
  components: { schemas?: Record<string, unknown> }
}

/**
 * Gives every schema with a `title` its place in `components.schemas`, under that title, and refers to it from where it
 * stood: the document becomes shorter, and generated clients get types with names.
 *
 * @throws {Error} when two different schemas have the same title
 */
export function nameSchemas<D extends object>(document: D): D {
  const named = new Map<string, unknown>()
  const visit = (value: unknown, inSchemas: boolean): unknown => {
    if (Array.isArray(value)) return value.map((part) => visit(part, false))
    if (typeof value !== 'object' || value === null) return value
    const copy = Object.fromEntries(Object.entries(value).map(([key, part]) => [key, visit(part, key === 'schemas')]))
    const { title, type } = copy as { title?: unknown; type?: unknown }
    if (inSchemas || typeof title !== 'string' || typeof type !== 'string') return copy
    const known = named.get(title)
    if (known && !isDeepStrictEqual(known, copy)) throw new Error(`Two different schemas have the title "${title}".`)
    named.set(title, copy)
    return { $ref: `#/components/schemas/${title}` }
  }
  const result = visit(document, false) as D & Components
  result.components.schemas = { ...result.components.schemas, ...Object.fromEntries(named) }
  return result
}
