import { Ajv, type Options } from 'ajv'
import formats from 'ajv-formats'

const HYPHEN = 45
const HYPHENS = new Set([8, 13, 18, 23])
/** What each of the 36 characters of a UUID may be: true at the codes of hexadecimal digits, or of the hyphen. */
const ALLOWED = Array.from({ length: 36 }, (_, place) =>
  Array.from({ length: 128 }, (_, code) =>
    HYPHENS.has(place) ? code === HYPHEN : /[0-9a-f]/i.test(String.fromCharCode(code)),
  ),
)

/**
 * Of the two forms that RFC 9562 allows, the one that databases take: no `urn:uuid:`. Every call and most reads check one, and
 * a regular expression takes twice as long.
 */
function isUuid(text: string): boolean {
  if (text.length !== 36) return false
  for (let place = 0; place < 36; place++) {
    if (ALLOWED[place]![text.charCodeAt(place)] !== true) return false
  }
  return true
}

/** The validator of this system: all faults at once, nothing removed, and the same formats everywhere. */
export function createAjv(options: Options = {}): Ajv {
  const ajv = new Ajv({ allErrors: true, strict: false, removeAdditional: false, ...options })
  formats.default(ajv)
  ajv.addFormat('uuid', isUuid)
  return ajv
}
