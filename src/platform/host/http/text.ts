import type { FastifySchemaValidationError as Finding } from 'fastify'

/**
 * Finds the strings that no database can keep and no other system will take: those with a null character or with half of
 * a surrogate pair. JSON may have both. They are told in the form of Ajv's findings. Give it only what has the declared shape, which bounds the work.
 */
export function textFaults(value: unknown): Finding[] {
  const faults: Finding[] = []
  const left: { part: unknown; path: string }[] = [{ part: value, path: '' }]
  for (let next = left.pop(); next; next = left.pop()) {
    const { part, path } = next
    if (typeof part === 'string') {
      const message = faultOf(part)
      if (message) faults.push({ instancePath: path, keyword: 'text', schemaPath: '', params: {}, message })
    } else if (typeof part === 'object' && part !== null) {
      for (const key in part) left.push({ part: (part as Record<string, unknown>)[key], path: `${path}/${key}` })
    }
  }
  return faults
}

function faultOf(text: string): string | undefined {
  if (text.includes('\0')) return 'must not have null characters'
  if (!text.isWellFormed()) return 'must be Unicode: it has half of a surrogate pair'
  return undefined
}
