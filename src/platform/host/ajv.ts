import { Ajv, type Options } from 'ajv'
import formats from 'ajv-formats'

/**
 * Of the two forms that RFC 9562 allows, the one that databases take: no `urn:uuid:`. Each digit is written out, because V8
 * runs `[0-9a-f]{8}` as a counted loop: written like that, and with the flag `i`, the check takes four times as long.
 */
const UUID = new RegExp(`^${'8-4-4-4-12'.replace(/\d+/g, (digits) => '[0-9a-fA-F]'.repeat(Number(digits)))}$`)

/** The validator of this system: all faults at once, nothing removed, and the same formats everywhere. */
export function createAjv(options: Options = {}): Ajv {
  const ajv = new Ajv({ allErrors: true, strict: false, removeAdditional: false, ...options })
  formats.default(ajv)
  ajv.addFormat('uuid', UUID)
  return ajv
}
