import type { TSchema } from 'typebox'
import { codecOf } from '../../codec.ts'
import { type Names, snakeCase, take } from './names.ts'

/**
 * What Protocol Buffers have a type for. `integer` is a double that holds one of any size, `json` a string of JSON, for what no
 * other shape would keep as it is.
 */
export type Scalar = 'string' | 'bool' | 'double' | 'int32' | 'int64' | 'integer' | 'json'

/** How values of a schema look in Protocol Buffers. */
export type Shape =
  | { readonly kind: Scalar }
  /** A message with a field for each property. */
  | { readonly kind: 'message'; readonly fields: readonly Field[] }
  /** A message with one field: for what cannot be a field itself, like a list that may be absent or is in a list. */
  | { readonly kind: 'box'; readonly fields: readonly [Field] }
  /** A message without fields: null, where nothing else can be. */
  | { readonly kind: 'null'; readonly fields: readonly [] }
  | { readonly kind: 'list'; readonly of: Exclude<Shape, { kind: 'list' }> }

export interface Field {
  readonly number: number
  /** What it is called in JSON. */
  readonly property: string
  readonly name: string
  readonly shape: Shape
  /** False: it may be absent. */
  readonly required: boolean
  /** Null is written by leaving it out; only where it is required. */
  readonly nullable: boolean
  /** For people. */
  readonly description: string | undefined
}

/**
 * The last field of what a procedure takes or gives. It is there only for text with half of a surrogate pair, which no string
 * of Protocol Buffers can hold: the whole value as JSON, and no other field beside it.
 */
export const JSON_FIELD = { number: 536_870_911, name: 'seam_json' } as const

interface JsonSchema {
  type?: unknown
  const?: unknown
  enum?: unknown[]
  anyOf?: JsonSchema[]
  properties?: Record<string, JsonSchema>
  patternProperties?: unknown
  additionalProperties?: unknown
  required?: string[]
  items?: JsonSchema | JsonSchema[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  description?: string
}

/**
 * The message that a procedure takes or gives: the object that the schema describes, or a box around anything else. Fields
 * are numbered in the order in which the schema declares them, so one that is added at the end changes no other.
 */
export function messageOf(schema: TSchema): Extract<Shape, { fields: unknown }> {
  const { shape, nullable } = shapeOf(codecOf(schema).schema as JsonSchema)
  if (!nullable && 'fields' in shape && shape.kind !== 'box') return shape
  return box({ shape, nullable })
}

interface Shaped {
  shape: Shape
  nullable: boolean
}

function shapeOf(schema: JsonSchema): Shaped {
  const { type } = schema
  const only = (shape: Shape): Shaped => ({ shape, nullable: false })
  if (type === 'string') return only({ kind: 'string' })
  if (type === 'boolean') return only({ kind: 'bool' })
  if (type === 'number') return only({ kind: 'double' })
  if (type === 'integer') return only({ kind: integer(schema) })
  if (type === 'null') return only({ kind: 'null', fields: [] })
  if (type === 'array' && schema.items && !Array.isArray(schema.items)) return only(list(shapeOf(schema.items)))
  if (type === 'object' && isClosed(schema)) return only({ kind: 'message', fields: fieldsOf(schema) })
  if (type === undefined && schema.anyOf) return union(schema.anyOf)
  if (type === undefined && (schema.enum ?? [schema.const]).every((value) => typeof value === 'string'))
    return only({ kind: 'string' })
  return only({ kind: 'json' })
}

const isClosed = ({ properties, patternProperties, additionalProperties }: JsonSchema): boolean =>
  properties !== undefined && patternProperties === undefined && additionalProperties === false

/** Without bounds an integer may be larger than any type of integers; a double holds whatever JavaScript can say. */
function integer({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: JsonSchema): Scalar {
  const least = minimum ?? exclusiveMinimum ?? Number.NEGATIVE_INFINITY
  const most = maximum ?? exclusiveMaximum ?? Number.POSITIVE_INFINITY
  if (least >= -(2 ** 31) && most < 2 ** 31) return 'int32'
  return least >= Number.MIN_SAFE_INTEGER && most <= Number.MAX_SAFE_INTEGER ? 'int64' : 'integer'
}

/** Something or null; several texts, as of an enumeration; else there is no shape for it but JSON. */
function union(variants: JsonSchema[]): Shaped {
  const shaped = variants.filter(({ type }) => type !== 'null').map(shapeOf)
  const [{ shape } = { shape: { kind: 'json' } as Shape }] = shaped
  const same = shaped.length === 1 || ('kind' in shape && shaped.every((one) => one.shape.kind === shape.kind))
  if (shape.kind === 'json' || !same || (shaped.length > 1 && !isScalar(shape)))
    return { shape: { kind: 'json' }, nullable: false }
  return { shape, nullable: shaped.length < variants.length || shaped.some(({ nullable }) => nullable) }
}

const isScalar = (shape: Shape): boolean => !('fields' in shape) && shape.kind !== 'list'

function list(items: Shaped): Shape {
  const { shape, nullable } = items
  return { kind: 'list', of: nullable || shape.kind === 'list' ? box(items) : shape }
}

function box({ shape, nullable }: Shaped): Extract<Shape, { kind: 'box' }> {
  const name = shape.kind === 'list' && !nullable ? 'items' : 'value'
  const field = { number: 1, property: name, name, required: true, description: undefined }
  return { kind: 'box', fields: [{ ...field, ...asField({ shape, nullable }, true) }] }
}

/** What Protocol Buffers cannot tell apart in a field (an empty list and none, null and nothing) goes into a box. */
function asField({ shape, nullable }: Shaped, required: boolean): Shaped {
  if (nullable && !required) return { shape: box({ shape, nullable }), nullable: false }
  if (shape.kind === 'list' && (nullable || !required)) return { shape: box({ shape, nullable: false }), nullable }
  return { shape, nullable }
}

function fieldsOf({ properties = {}, required = [] }: JsonSchema): Field[] {
  const names: Names = new Set()
  take(names, JSON_FIELD.name, /./, '')
  return Object.entries(properties).map(([property, schema], index) => {
    const isRequired = required.includes(property)
    return {
      number: index + 1,
      property,
      name: take(names, snakeCase(property), /^[a-z][a-z0-9_]*$/, `field_${index + 1}`),
      required: isRequired,
      description: schema.description,
      ...asField(shapeOf(schema), isRequired),
    }
  })
}
