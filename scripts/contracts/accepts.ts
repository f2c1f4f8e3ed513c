import { isDeepStrictEqual } from 'node:util'
import type { TSchema } from 'typebox'
import { codecOf } from '../../src/platform/host/codec.ts'

/** A schema as JSON; those of contracts are made with TypeBox. */
export interface Schema {
  readonly [keyword: string]: unknown
  readonly type?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema | readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
}

/** Why a reader cannot take all that a writer may write; `path` is a JSON pointer into the value, `*` an item of a list. */
export interface Misfit {
  readonly path: string
  readonly why: string
}

/**
 * How a reader takes fields that its schema does not have: `refuse` them, as inputs do, or `ignore` them, as it is with answers
 * and events. Who ignores fields also misses those that have gone, even if they were optional: nobody would notice.
 */
type Unknown = 'refuse' | 'ignore'

/** What says nothing about which values are valid. */
const WORDS = new Set(['description', 'title', 'examples', 'default', 'deprecated', '$id', '$comment'])
/** A reader may allow more than a writer uses. */
const LEAST = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']
const MOST = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']
/** A reader may do without. */
const DEMANDS = ['format', 'pattern', 'multipleOf', 'uniqueItems', 'const']

/**
 * Why some values that are valid for a writer's schema would not be for a reader's; none when the reader takes all of them.
 * What it cannot judge (`not`, references, conditions) fits only where it is the same.
 *
 * Objects without `additionalProperties` have no fields but their own, as the platform reads them.
 */
export function misfits(writer: Schema, reader: Schema, unknown: Unknown, path = ''): Misfit[] {
  const misfit = (why: string): Misfit[] => [{ path, why }]
  if (isDeepStrictEqual(meaningOf(writer), meaningOf(reader)) || isAnything(reader)) return []
  if (writer.anyOf)
    return writer.anyOf.flatMap((one) => misfits({ ...without(writer, 'anyOf'), ...one }, reader, unknown, path))
  if ('const' in writer)
    return codecOf(reader as TSchema).check(writer.const) ? [] : misfit(`may be ${JSON.stringify(writer.const)}`)
  if (writer.enum) return writer.enum.flatMap((value) => misfits({ const: value }, reader, unknown, path))
  if (reader.anyOf) return ofUnion(writer, reader, path)
  if (reader.enum) return misfit(`may be other than ${reader.enum.map((value) => JSON.stringify(value)).join(', ')}`)
  if (isAnything(writer)) return misfit('may be anything')
  const [has, takes] = [writer.type, reader.type]
  if (takes !== undefined && has !== takes && !(has === 'integer' && takes === 'number'))
    return misfit(`is ${String(has)}, not ${String(takes)}`)
  return [
    ...ofKeywords(writer, reader).map((why) => ({ path, why })),
    ...(has === 'object' ? ofFields(writer, reader, unknown, path) : []),
    ...(has === 'array' ? ofItems(writer, reader, unknown, path) : []),
  ]
}

/** Which of several a value is meant to be may depend on any field, so here none is ignored. */
function ofUnion(writer: Schema, reader: Schema, path: string): Misfit[] {
  const around = without(reader, 'anyOf')
  const each = reader.anyOf!.map((one) => misfits(writer, { ...around, ...one }, 'refuse', path))
  if (each.some((reasons) => reasons.length === 0)) return []
  const sameType = reader.anyOf!.findIndex((one) => one.type === writer.type)
  return sameType >= 0 ? each[sameType]! : [{ path, why: `may be ${String(writer.type)}, which was not possible` }]
}

function ofKeywords(writer: Schema, reader: Schema): string[] {
  const number = (schema: Schema, keyword: string) => schema[keyword] as number | undefined
  const known = new Set([...LEAST, ...MOST, ...DEMANDS, ...STRUCTURE])
  const other = [...new Set([...Object.keys(writer), ...Object.keys(reader)])].filter(
    (keyword) => !known.has(keyword) && !WORDS.has(keyword) && !isDeepStrictEqual(writer[keyword], reader[keyword]),
  )
  const say = (keyword: string) =>
    `${keyword} is ${JSON.stringify(writer[keyword]) ?? 'none'}, not ${JSON.stringify(reader[keyword])}`
  return [
    ...LEAST.filter(
      (keyword) =>
        (number(writer, keyword) ?? Number.NEGATIVE_INFINITY) < (number(reader, keyword) ?? Number.NEGATIVE_INFINITY),
    ),
    ...MOST.filter(
      (keyword) =>
        (number(writer, keyword) ?? Number.POSITIVE_INFINITY) > (number(reader, keyword) ?? Number.POSITIVE_INFINITY),
    ),
    ...DEMANDS.filter((keyword) => keyword in reader && !isDeepStrictEqual(writer[keyword], reader[keyword])),
    ...other,
  ].map(say)
}

const STRUCTURE = ['type', 'properties', 'required', 'additionalProperties', 'items', 'anyOf', 'enum']

function ofFields(writer: Schema, reader: Schema, unknown: Unknown, path: string): Misfit[] {
  const [has, takes] = [writer.properties ?? {}, reader.properties ?? {}]
  const sure = (schema: Schema, name: string) => schema.required?.includes(name) === true
  const at = (name: string) => `${path}/${name}`
  const extra = Object.keys(has).filter((name) => !Object.hasOwn(takes, name))
  const [others, takesOthers] = [othersOf(writer), othersOf(reader)]
  return [
    ...Object.keys(takes).flatMap((name) => {
      if (!Object.hasOwn(has, name))
        return sure(reader, name) || unknown === 'ignore'
          ? [{ path: at(name), why: sure(reader, name) ? 'is missing' : 'is gone' }]
          : []
      const missing = sure(reader, name) && !sure(writer, name) ? [{ path: at(name), why: 'may be missing' }] : []
      return [...missing, ...misfits(has[name]!, takes[name]!, unknown, at(name))]
    }),
    ...(reader.required ?? [])
      .filter((name) => !Object.hasOwn(takes, name) && !sure(writer, name))
      .map((name) => ({ path: at(name), why: 'may be missing' })),
    ...extra.flatMap((name) => {
      if (takesOthers === false) return unknown === 'ignore' ? [] : [{ path: at(name), why: 'is not known' }]
      return misfits(has[name]!, takesOthers, unknown, at(name))
    }),
    ...(others === false
      ? []
      : takesOthers === false
        ? [{ path: at('*'), why: 'may be there under any name' }]
        : misfits(others, takesOthers, unknown, at('*'))),
  ]
}

function ofItems(writer: Schema, reader: Schema, unknown: Unknown, path: string): Misfit[] {
  const [has, takes] = [writer.items ?? {}, reader.items ?? {}]
  if (isList(has) || isList(takes))
    return isDeepStrictEqual(meaningOf(has), meaningOf(takes)) ? [] : [{ path, why: 'has other items' }]
  return misfits(has, takes, unknown, `${path}/*`)
}

const isList = (value: unknown): value is readonly Schema[] => Array.isArray(value)

/** What fields that are not declared must be; false where there may be none. */
function othersOf({ properties, additionalProperties, patternProperties }: Schema): false | Schema {
  if (typeof additionalProperties === 'object') return additionalProperties
  if (additionalProperties === undefined) return properties || patternProperties ? false : {}
  return additionalProperties && {}
}

const isAnything = (schema: Schema): boolean => Object.keys(schema).every((keyword) => WORDS.has(keyword))

function without(schema: Schema, keyword: string): Schema {
  const { [keyword]: _gone, ...rest } = schema
  return rest
}

/** A schema without what is for people, down to the last part; names of fields are no keywords. */
function meaningOf(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(meaningOf)
  if (typeof schema !== 'object' || schema === null) return schema
  const parts = Object.entries(schema).filter(([keyword]) => !WORDS.has(keyword))
  return Object.fromEntries(
    parts.map(([keyword, part]) => [
      keyword,
      keyword === 'properties' ? fieldsOf(part) : keyword === 'const' || keyword === 'enum' ? part : meaningOf(part),
    ]),
  )
}

const fieldsOf = (properties: object): unknown =>
  Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, meaningOf(schema)]))
