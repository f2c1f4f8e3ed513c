import protobuf, { type Reader, type Writer } from 'protobufjs/minimal.js'
import type { TSchema } from 'typebox'
import { type Field, JSON_FIELD, messageOf, type Scalar, type Shape } from './shape.ts'

/** How the values of a schema travel as messages of Protocol Buffers. What comes out is what JSON would have made of it. */
export interface MessageCodec {
  /** @param json the value as JSON text, checked against the schema */
  encode(json: string): Buffer
  /**
   * The value; whether it has the declared shape is for others to check. Unknown fields come out as properties that no
   * schema has.
   *
   * @throws {Error} when the bytes are no message of this shape
   */
  decode(bytes: Buffer): unknown
}

type MessageShape = Extract<Shape, { fields: unknown }>

/** How JSON writes half of a surrogate pair, and hardly anything else. */
const HALF_A_PAIR = /\\ud[89a-f]/i

/** How a field begins on the wire: its number and how long it is. */
const WIRE = { varint: 0, fixed64: 1, bytes: 2 } as const
const WIRE_OF: Record<Scalar, number> = {
  string: WIRE.bytes,
  json: WIRE.bytes,
  double: WIRE.fixed64,
  integer: WIRE.fixed64,
  bool: WIRE.varint,
  int32: WIRE.varint,
  int64: WIRE.varint,
}

export function messageCodec(schema: TSchema): MessageCodec {
  const shape = messageOf(schema)
  return {
    encode(json) {
      const writer = protobuf.Writer.create()
      if (HALF_A_PAIR.test(json)) tag(writer, JSON_FIELD.number, WIRE.bytes).string(json)
      else write(writer, shape, JSON.parse(json))
      return writer.finish() as Buffer
    },
    decode(bytes) {
      const reader = protobuf.Reader.create(bytes)
      const wholes: string[] = []
      const value = read(reader, reader.len, shape, (number) => {
        if (number !== JSON_FIELD.number) return false
        wholes.push(readText(reader))
        return true
      })
      return wholes.length > 0 ? JSON.parse(wholes[0]!) : value
    },
  }
}

const tag = (writer: Writer, number: number, wire: number): Writer => writer.uint32(((number << 3) | wire) >>> 0)

function write(writer: Writer, shape: MessageShape, value: unknown): void {
  const object = shape.kind === 'box' ? { [shape.fields[0].property]: value } : (value as Record<string, unknown>)
  for (const field of shape.fields) {
    if (!Object.hasOwn(object, field.property)) continue
    const part = object[field.property]
    if (part === null && field.nullable) continue
    if (field.shape.kind === 'list') writeList(writer, field.number, field.shape.of, part as unknown[])
    else writePart(writer, field.number, field.shape, part)
  }
}

function writePart(writer: Writer, number: number, shape: Exclude<Shape, { kind: 'list' }>, value: unknown): void {
  if ('fields' in shape) {
    tag(writer, number, WIRE.bytes).fork()
    write(writer, shape, value)
    writer.ldelim()
  } else writeScalar(tag(writer, number, WIRE_OF[shape.kind]), shape.kind, value)
}

function writeList(writer: Writer, number: number, of: Exclude<Shape, { kind: 'list' }>, values: unknown[]): void {
  if ('fields' in of || WIRE_OF[of.kind] === WIRE.bytes) {
    for (const value of values) writePart(writer, number, of, value)
  } else if (values.length > 0) {
    tag(writer, number, WIRE.bytes).fork()
    for (const value of values) writeScalar(writer, of.kind, value)
    writer.ldelim()
  }
}

function writeScalar(writer: Writer, kind: Scalar, value: unknown): void {
  if (kind === 'json') writer.string(JSON.stringify(value))
  else if (kind === 'integer') writer.double(value as number)
  else writer[kind](value as never)
}

/** @param other gets the numbers that the shape does not have; true when it has read what follows */
function read(reader: Reader, end: number, shape: MessageShape, other: (number: number) => boolean): unknown {
  if (end > reader.len) throw new RangeError('A message ends before it is complete.')
  const value: Record<string, unknown> = {}
  for (const { property, shape: of, nullable } of shape.fields) {
    if (of.kind === 'list') value[property] = []
    else if (nullable) value[property] = null
  }
  while (reader.pos < end) {
    const head = reader.uint32()
    const [number, wire] = [head >>> 3, head & 7]
    const field = shape.fields[number - 1]
    if (field) readField(reader, wire, field, value)
    else if (!other(number)) {
      reader.skipType(wire)
      value[`field ${number}`] = true
    }
  }
  if (reader.pos !== end) throw new RangeError('A message is longer than it says.')
  if (shape.kind === 'message' || Object.keys(value).length > shape.fields.length) return value
  return shape.kind === 'null' ? null : value[shape.fields[0].property]
}

function readField(reader: Reader, wire: number, { property, shape }: Field, value: Record<string, unknown>): void {
  if (shape.kind !== 'list') {
    value[property] = readPart(reader, wire, shape)
    return
  }
  const list = value[property] as unknown[]
  const isPacked = wire === WIRE.bytes && !('fields' in shape.of) && WIRE_OF[shape.of.kind] !== WIRE.bytes
  if (!isPacked) {
    list.push(readPart(reader, wire, shape.of))
    return
  }
  const end = endOf(reader)
  while (reader.pos < end) list.push(readScalar(reader, shape.of.kind as Scalar))
  if (reader.pos !== end) throw new RangeError('A list is longer than it says.')
}

function readPart(reader: Reader, wire: number, shape: Exclude<Shape, { kind: 'list' }>): unknown {
  if (wire !== ('fields' in shape ? WIRE.bytes : WIRE_OF[shape.kind]))
    throw new TypeError('A field is of another type than the contract says.')
  return 'fields' in shape ? read(reader, endOf(reader), shape, () => false) : readScalar(reader, shape.kind)
}

const endOf = (reader: Reader): number => reader.uint32() + reader.pos

function readScalar(reader: Reader, kind: Scalar): unknown {
  if (kind === 'json') return JSON.parse(readText(reader))
  if (kind === 'string') return readText(reader)
  if (kind === 'integer') return reader.double()
  return kind === 'int64' ? Number(String(reader.int64())) : reader[kind]()
}

/** Not `reader.string()`: where bytes are missing it gives what there is. */
const readText = (reader: Reader): string => (reader.bytes() as Buffer).toString()
