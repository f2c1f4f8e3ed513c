import { Ajv, type Options } from 'ajv'
import formats from 'ajv-formats'

/** Of the two forms that RFC 9562 allows, the one that databases take: no `urn:uuid:`. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The validator of this system: all faults at once, nothing removed, and the same formats everywhere. */
export function createAjv(options: Options = {}): Ajv {
  const ajv = new Ajv({ allErrors: true, strict: false, removeAdditional: false, ...options })
  formats.default(ajv)
  ajv.addFormat('uuid', UUID)
  return ajv
}
