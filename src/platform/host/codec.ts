import { isDeepStrictEqual } from 'node:util'
import { Ajv, type ValidateFunction } from 'ajv'
import formats from 'ajv-formats'
import fastJsonStringify from 'fast-json-stringify'
import type { TSchema } from 'typebox'
import type { Fault } from '../kit/errors.ts'

/** What a schema is compiled to: how values of it are checked and how they travel. */
export interface Codec {
  readonly schema: TSchema
  /** True when the value has the declared shape; extra fields are faults too. Fast: no list is made. */
  check(value: unknown): boolean
  /** Everything that is wrong with a value. Empty when nothing is. */
  faults(value: unknown): Fault[]
  /** JSON text with the declared fields, whatever else the value has. Check the value first. */
  encode(value: unknown): string
}

const ajv = new Ajv({ allErrors: true, strict: false, strictSchema: false })
formats.default(ajv)
const codecs = new WeakMap<TSchema, Codec>()

/** The codec of a schema, compiled when it is first needed and then kept. */
export function codecOf(schema: TSchema): Codec {
  let codec = codecs.get(schema)
  if (!codec) codecs.set(schema, (codec = new LazyCodec(schema)))
  return codec
}

class LazyCodec implements Codec {
  readonly schema: TSchema
  #validate: ValidateFunction | undefined
  #stringify: ((value: unknown) => string) | undefined

  constructor(schema: TSchema) {
    this.schema = closed(schema) as TSchema
  }

  check(value: unknown): boolean {
    this.#validate ??= ajv.compile(this.schema)
    return this.#validate(value) as boolean
  }

  faults(value: unknown): Fault[] {
    return this.check(value) ? [] : faultsOf(this.#validate?.errors ?? [])
  }

  encode(value: unknown): string {
    this.#stringify ??= fastJsonStringify(this.schema as object)
    return this.#stringify(value)
  }
}

/** Ajv's findings in the words that people get to see. */
export function faultsOf(
  errors: readonly { instancePath: string; keyword: string; message?: string; params: Record<string, unknown> }[],
): Fault[] {
  return errors.map(({ instancePath, keyword, message, params }) => {
    if (keyword === 'required') return { path: `${instancePath}/${params.missingProperty}`, message: 'is missing' }
    if (keyword === 'additionalProperties')
      return { path: `${instancePath}/${params.additionalProperty}`, message: 'is not a known field' }
    if (keyword === 'enum')
      return { path: instancePath, message: `must be one of ${(params.allowedValues as unknown[]).join(', ')}` }
    return { path: instancePath, message: message ?? 'is not valid' }
  })
}

/**
 * What a remote adapter would make of a value: encoded and decoded again, frozen so that nobody can rely on sharing it.
 * `difference` says what would have changed on the way, if anything.
 */
export function roundTrip(codec: Codec, value: unknown): { value: unknown; difference: string | undefined } {
  const copy = deepFreeze(decode(codec.encode(value)))
  return { value: copy, difference: isDeepStrictEqual(plain(value), copy) ? undefined : differenceOf(value, copy, '') }
}

/** Parses what {@link Codec.encode} made; an empty text is `undefined`, which JSON cannot say. */
export const decode = (text: string): unknown => (text === '' ? undefined : JSON.parse(text))

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const part of Object.values(value)) deepFreeze(part)
  }
  return value
}

/** Optional properties that are set to undefined are absent in JSON; no reader can tell the two apart. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([key, part]) => [key, plain(part)]),
  )
}

function differenceOf(sent: unknown, received: unknown, path: string): string {
  if (isObject(sent) && isObject(received) && Array.isArray(sent) === Array.isArray(received)) {
    for (const key of new Set([...Object.keys(sent), ...Object.keys(received)])) {
      if (!isDeepStrictEqual(plain(sent[key]), received[key]))
        return differenceOf(sent[key], received[key], `${path}/${key}`)
    }
  }
  return `${path || 'the value'} is ${describe(sent)} here and ${describe(received)} on the far side`
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype)

const describe = (value: unknown): string =>
  value instanceof Date
    ? 'a Date'
    : value === undefined
      ? 'missing'
      : (JSON.stringify(value)?.slice(0, 60) ?? typeof value)

/** A copy of a schema in which every object refuses fields that it does not declare. */
export function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const copy: Record<string, unknown> = {}
  for (const [key, part] of Object.entries(schema)) copy[key] = closed(part)
  if (copy.type === 'object' && copy.properties && copy.additionalProperties === undefined)
    copy.additionalProperties = false
  return copy
}
