import { isDeepStrictEqual } from 'node:util'
import type { ValidateFunction } from 'ajv'
import fastJsonStringify from 'fast-json-stringify'
import type { TSchema } from 'typebox'
import type { Fault } from '../kit/errors.ts'
import { createAjv } from './ajv.ts'

/** What a schema is compiled to: how values of it are checked and how they travel. */
export interface Codec {
  readonly schema: TSchema
  /** True when the value has the declared shape; extra fields are faults too. Fast: no list is made. */
  check(value: unknown): boolean
  /** Everything that is wrong with a value. Empty when nothing is. */
  faults(value: unknown): Fault[]
  /** The same without the fields that the schema does not declare, which a later version of who wrote it may have added. */
  known(value: unknown): unknown
  /**
   * JSON text with the declared fields, whatever else the value has. Check the value first.
   *
   * @throws {Error} when there is no such text: undefined, a function, a circle, BigInt
   */
  encode(value: unknown): string
  /** Compiles it now. @throws {Error} when the schema is none that JSON can follow */
  prepare(): void
}

// What JSON cannot say (NaN, Infinity) is no number. Not for text: coerced to Infinity, it would pass `maximum` unseen.
const ajv = createAjv({ strictNumbers: true })
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
    // A schema for anything lets undefined pass, which JSON cannot say.
    return value !== undefined && (this.#validate(value) as boolean)
  }

  faults(value: unknown): Fault[] {
    if (value === undefined) return [{ path: '', message: 'is missing' }]
    return this.check(value) ? [] : faultsOf(this.#validate?.errors ?? [])
  }

  known(value: unknown): unknown {
    return declared(this.schema, value)
  }

  prepare(): void {
    this.#validate ??= ajv.compile(this.schema)
    this.#stringify ??= fastJsonStringify(this.schema as object)
  }

  encode(value: unknown): string {
    this.#stringify ??= fastJsonStringify(this.schema as object)
    const text = this.#stringify(value)
    if (text === 'undefined') throw new TypeError(`${typeof value} is nothing that JSON can say`)
    return text
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
 *
 * @param limit the most that the value may weigh, in bytes
 */
export function roundTrip(
  codec: Codec,
  value: unknown,
  limit: number,
): { value: unknown; difference: string | undefined } {
  let copy: unknown
  try {
    const text = codec.encode(value)
    if (Buffer.byteLength(text) > limit)
      return { value: undefined, difference: `it weighs more than ${limit / 1024 / 1024} MiB` }
    copy = deepFreeze(JSON.parse(text))
  } catch (error) {
    return { value: undefined, difference: `it cannot be written as JSON (${(error as Error).message})` }
  }
  return { value: copy, difference: isDeepStrictEqual(plain(value), copy) ? undefined : differenceOf(value, copy, '') }
}

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

function describe(value: unknown): string {
  if (value === undefined) return 'missing'
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'object' && value !== null && !isObject(value))
    return `a ${value.constructor?.name ?? 'object without a prototype'}`
  return JSON.stringify(value)?.slice(0, 60) ?? `a ${typeof value}`
}

/**
 * A copy of a schema in which every object refuses fields that it does not declare. An intersection of objects becomes one
 * object: each part by itself would refuse the fields of the others.
 */
export function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const copy: Record<string, unknown> = {}
  for (const [key, part] of Object.entries(schema)) copy[key] = closed(part)
  if (Array.isArray(copy.allOf)) return intersection(copy, schema as { allOf: unknown[] })
  if (copy.type === 'object' && copy.additionalProperties === undefined) {
    const patterns = Object.entries(copy.patternProperties ?? {})
    if (patterns.length === 1 && patterns[0]![0] === ANY_KEY) {
      delete copy.patternProperties
      copy.additionalProperties = patterns[0]![1]
    } else if (copy.properties || patterns.length > 0) {
      copy.additionalProperties = false
    }
  }
  return copy
}

/** In a union of several objects nothing is left out: which of them it is may depend on any field. */
function declared(schema: ObjectSchema, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const type = Array.isArray(value) ? 'array' : 'object'
  const candidates = (schema.anyOf ?? [schema]).filter((one) => one.type === type)
  const only = candidates.length === 1 ? candidates[0]! : {}
  const { items } = only
  if (Array.isArray(value)) return items && !Array.isArray(items) ? value.map((item) => declared(items, item)) : value
  const { properties, patternProperties, additionalProperties } = only
  if (!properties || patternProperties || additionalProperties !== false) return value
  const fields = Object.entries(value).filter(([key]) => Object.hasOwn(properties, key))
  return Object.fromEntries(fields.map(([key, part]) => [key, declared(properties[key] as ObjectSchema, part)]))
}

/** How TypeBox writes a record of any keys; the dot means all characters but line breaks, so they would be lost. */
const ANY_KEY = '^.*$'

interface ObjectSchema {
  type?: unknown
  properties?: Record<string, unknown>
  patternProperties?: unknown
  additionalProperties?: unknown
  required?: string[]
  items?: ObjectSchema | ObjectSchema[]
  anyOf?: ObjectSchema[]
}

function intersection(copy: Record<string, unknown>, { allOf }: { allOf: unknown[] }): unknown {
  const { allOf: closedParts, unevaluatedProperties: _closed, ...rest } = copy
  const parts = closedParts as ObjectSchema[]
  if (!parts.every(({ type, properties, patternProperties }) => type === 'object' && properties && !patternProperties))
    return { ...rest, allOf }
  const properties: Record<string, unknown> = {}
  for (const [key, part] of parts.flatMap((part) => Object.entries(part.properties!)))
    properties[key] = key in properties ? { allOf: [properties[key], part] } : part
  const required = [...new Set(parts.flatMap((part) => part.required ?? []))]
  return { ...rest, type: 'object', properties, required, additionalProperties: false }
}
