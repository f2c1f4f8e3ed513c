import { Ajv, type Options } from 'ajv'
import formats from 'ajv-formats'

/**
 * Of the two forms that RFC 9562 allows, the one that databases take: no `urn:uuid:`. Each digit is written out, because V8
 * runs `[0-9a-f]{8}` as a counted loop: written like that, and with the flag `i`, the check takes four times as long.
 */
const UUID = new RegExp(`^${'8-4-4-4-12'.replace(/\d+/g, (digits) => '[0-9a-fA-F]'.repeat(Number(digits)))}$`)

/**
 * The validator of this system: all faults at once, nothing removed, and the same formats everywhere. Schemas come from
 * TypeBox, so they are not held against the schema of schemas: to compile that for each validator took 50 ms of the start.
 */
export function createAjv(options: Options = {}): Ajv {
  const own = { allErrors: true, strict: false, removeAdditional: false, meta: false, validateSchema: false } as const
  const ajv = new Ajv({ ...own, ...options })
  formats.default(ajv)
  ajv.addFormat('uuid', UUID)
  return ajv
}
