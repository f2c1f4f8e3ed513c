import fc, { type Arbitrary } from 'fast-check'
import { createAjv } from '../../src/platform/host/ajv.ts'
import { Known } from './known.ts'
import { anyText } from './values.ts'

/** A JSON schema, as far as this API's description uses it. */
export interface Schema {
  type?: string
  format?: string
  pattern?: string
  enum?: unknown[]
  examples?: unknown[]
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  items?: Schema
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  properties?: Record<string, Schema>
  required?: string[]
  minProperties?: number
  anyOf?: Schema[]
  oneOf?: Schema[]
  $ref?: string
}

/** The password of everybody whom the run knows, so that it fits whichever address comes with it. */
export const PASSWORD = 'correct horse battery'

const ajv = createAjv()

/**
 * Values that a schema allows. Where the running system may know a value of the same name (an address, a refresh token),
 * half of them are {@link Known}; every UUID in a body or a query is a user.
 */
export function validFor(schema: Schema, name = '', named: Record<string, Schema> = {}): Arbitrary<unknown> {
  const of = (part: Schema, partName = name) => validFor(part, partName, named)
  if (schema.$ref) return of(named[schema.$ref.split('/').at(-1)!]!)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map((part) => of(part)))
  switch (schema.type) {
    case 'string':
      return text(schema, name)
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -1_000, max: Math.min(schema.maximum ?? 1_000, 2 ** 31) })
    case 'number':
      return fc.double({ min: schema.minimum ?? -1e9, max: schema.maximum ?? 1e9, noNaN: true })
    case 'boolean':
      return fc.boolean()
    case 'array':
      return list(schema, of)
    case 'object':
      return object(schema, of)
    default:
      return fc.constant(null)
  }
}

/** Patterns of which fast-check makes nothing, or takes seconds to. */
const UNREADABLE = /\(\?|\\p/

type Of = (schema: Schema, name?: string) => Arbitrary<unknown>

function list({ items = {}, minItems = 0, maxItems = 20, uniqueItems }: Schema, of: Of): Arbitrary<unknown[]> {
  const bounds = { minLength: minItems, maxLength: Math.min(maxItems, minItems + 4) }
  return uniqueItems ? fc.uniqueArray(of(items), { ...bounds, selector: String }) : fc.array(of(items), bounds)
}

/** Where one of several sets of keys is required (`oneOf`), a value has that set and nothing of the others. */
function object({ properties = {}, required = [], minProperties = 0, oneOf }: Schema, of: Of): Arbitrary<unknown> {
  if (oneOf) {
    const sets = oneOf.map(({ required = [] }) => required)
    return fc.oneof(
      ...sets.map((set) => {
        const others = sets.flat().filter((key) => !set.includes(key))
        const left = Object.fromEntries(Object.entries(properties).filter(([key]) => !others.includes(key)))
        return object({ properties: left, required: [...required, ...set] }, of)
      }),
    )
  }
  const parts = Object.fromEntries(Object.entries(properties).map(([key, part]) => [key, of(part, key)]))
  return fc.record(parts, { requiredKeys: required }).filter((value) => Object.keys(value).length >= minProperties)
}

function text(schema: Schema, name: string): Arbitrary<unknown> {
  if (schema.format === 'uuid') {
    const unknown = fc.uuid()
    return fc.oneof({ weight: 3, arbitrary: known('/api/users', unknown) }, { weight: 1, arbitrary: unknown })
  }
  if (/password/i.test(name)) return fc.oneof({ weight: 9, arbitrary: fc.constant(PASSWORD) }, plain(schema))
  return fc.oneof(plain(schema), known(name, plain(schema)))
}

const known = (name: string, otherwise: Arbitrary<unknown>) =>
  fc.tuple(fc.nat(1_000), otherwise).map(([n, otherwise]) => new Known(name, n, otherwise))

/** Odd texts as well as common ones; where a schema does not take one, an example of its own stands in. */
function plain(schema: Schema): Arbitrary<string> {
  const { format, pattern, minLength = 0, maxLength = 1_000 } = schema
  const example = fc.constantFrom(...((schema.examples as string[] | undefined) ?? ['Ada']))
  // Nobody's: what may be sent to later must lead nowhere.
  if (format === 'email')
    return fc
      .tuple(fc.constantFrom('', "o'brien", 'a+b', '{x}', "!#$%&'*+/=?^_`|~-"), fc.uuid())
      .map(([local, unique]) => `${local}${unique.slice(-12)}@fuzz.invalid`)
  if (pattern?.startsWith('^https?://')) return fc.uuid().map((unique) => `https://push.fuzz.invalid/${unique}`)

  const filled = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).map((text) => `a${text}`)
  const longest = fc.constantFrom('x', '漢').map((letter) => letter.repeat(maxLength))
  const texts = fc.oneof(
    { weight: 20, arbitrary: filled },
    {
      weight: 20,
      arbitrary: pattern && !UNREADABLE.test(pattern) ? fc.stringMatching(new RegExp(pattern, 'u')) : filled,
    },
    { weight: 10, arbitrary: anyText },
    { weight: 1, arbitrary: longest },
  )
  return fc.tuple(texts, example).map(([text, example]) => {
    const cut = [...text].slice(0, maxLength).join('')
    return cut.length >= minLength && cut.isWellFormed() && !cut.includes('\0') && ajv.validate(schema, cut)
      ? cut
      : example
  })
}
