import assert from 'node:assert/strict'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import { type TSchema, Type } from 'typebox'
import { codecOf } from '../../../../../src/platform/host/codec.ts'
import { messageCodec } from '../../../../../src/platform/host/rpc/grpc/message.ts'
import { protoOf } from '../../../../../src/platform/host/rpc/grpc/proto.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'

/** A schema, and what values of it there are. */
interface Case {
  schema: TSchema
  value: unknown
}

/** Text of any kind, half pairs of surrogates included. */
const text = fc.string({
  unit: fc.oneof(fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }), fc.constant('\ud800')),
})
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0)
const json = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)))

const leaf: fc.Arbitrary<Case> = fc.oneof(
  text.map((value) => ({ schema: Type.String(), value })),
  fc.constantFrom('a', 'b').map((value) => ({ schema: Type.Enum(['a', 'b']), value })),
  fc.constantFrom('a', 'b').map((value) => ({ schema: Type.Union([Type.Literal('a'), Type.Literal('b')]), value })),
  fc.boolean().map((value) => ({ schema: Type.Boolean(), value })),
  number.map((value) => ({ schema: Type.Number(), value })),
  fc
    .oneof(fc.maxSafeInteger(), fc.constantFrom(2 ** 53 + 2, 1e300, -1e21))
    .map((value) => ({ schema: Type.Integer(), value: value + 0 })),
  fc.integer().map((value) => ({ schema: Type.Integer({ minimum: -(2 ** 31), maximum: 2 ** 31 - 1 }), value })),
  fc.maxSafeInteger().map((value) => ({
    schema: Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
    value: value + 0,
  })),
  fc.constant({ schema: Type.Null(), value: null }),
  json.map((value) => ({ schema: Type.Unknown(), value })),
  fc
    .dictionary(text, json, { noNullPrototype: true })
    .map((value) => ({ schema: Type.Record(Type.String(), Type.Unknown()), value })),
  fc.tuple(number, text).map((value) => ({ schema: Type.Tuple([Type.Number(), Type.String()]), value })),
  fc.oneof(text, number, fc.boolean()).map((value) => ({
    schema: Type.Union([Type.String(), Type.Number(), Type.Boolean()]),
    value,
  })),
)

/** What Ajv and fast-json-stringify take as names of properties: not what every object has. */
const name = fc.oneof(
  fc.constantFrom('id', 'firstName', 'first_name', 'FirstName', 'value', 'items', 'json', 'message', '1st', ''),
  fc.string({ unit: 'binary', maxLength: 5 }).filter((name) => !(name in {})),
)

/** A list of one, none or many values that have the same schema: those of the case, or absent ones of it. */
const cases: fc.Arbitrary<Case> = fc.letrec<{ any: Case }>((tie) => {
  const field = fc.record({ of: tie('any'), optional: fc.boolean(), absent: fc.boolean() })
  const object = fc.dictionary(name, field, { maxKeys: 5, noNullPrototype: true }).map((fields) => {
    const parts = Object.entries(fields)
    return {
      schema: Type.Object(
        Object.fromEntries(
          parts.map(([key, { of, optional }]) => [key, optional ? Type.Optional(of.schema) : of.schema]),
        ),
      ),
      value: Object.fromEntries(
        parts.filter(([, { optional, absent }]) => !(optional && absent)).map(([key, { of }]) => [key, of.value]),
      ),
    }
  })
  const list = fc.record({ of: tie('any'), length: fc.integer({ min: 0, max: 3 }) }).map(({ of, length }) => ({
    schema: Type.Array(of.schema),
    value: Array.from({ length }, () => of.value),
  }))
  const nullable = fc.record({ of: tie('any'), isNull: fc.boolean() }).map(({ of, isNull }) => ({
    schema: Type.Union([of.schema, Type.Null()]),
    value: isNull ? null : of.value,
  }))
  return { any: fc.oneof({ depthSize: 'small', withCrossShrink: true }, leaf, object, list, nullable) }
}).any

t.test('values of any schema come out as JSON would have them', async (t) => {
  fc.assert(
    fc.property(cases, ({ schema, value }) => {
      const codec = codecOf(schema)
      assert.ok(codec.check(value))
      const json = codec.encode(value)
      const message = messageCodec(schema)
      assert.deepStrictEqual(message.decode(message.encode(json)), JSON.parse(json))
    }),
    { numRuns: 150 },
  )
  t.pass()
})

t.test('the printed .proto describes what is on the wire: others read it, and what they write is read', async (t) => {
  fc.assert(
    fc.property(cases, ({ schema, value }) => {
      const contract = defineContract('mirror', { procedures: { same: query({ input: schema, output: schema }) } })
      const type = protobuf.parse(protoOf(contract)).root.lookupType('seam.mirror.SameRequest')
      const message = messageCodec(schema)
      const json = codecOf(schema).encode(value)
      const bytes = Buffer.from(type.encode(type.decode(message.encode(json))).finish())
      assert.deepStrictEqual(message.decode(bytes), JSON.parse(json))
    }),
    { numRuns: 60 },
  )
  t.pass()
})

t.test('keys that mean something to JavaScript are only keys', async (t) => {
  const message = messageCodec(Type.Object({ any: Type.Unknown() }))
  for (const json of ['{"any":{"__proto__":{"a":1}}}', '{"any":{"constructor":{"prototype":1},"":2}}'])
    t.equal(JSON.stringify(message.decode(message.encode(json))), json)
  t.equal(({} as { a?: unknown }).a, undefined)
})

const Book = Type.Object({
  id: Type.String(),
  count: Type.Integer({ minimum: 0, maximum: 9 }),
  tags: Type.Array(Type.String()),
  author: Type.Optional(Type.Object({ born: Type.Union([Type.Integer(), Type.Null()]) })),
})

t.test('a field that is missing is missing, not empty', async (t) => {
  const value = messageCodec(Book).decode(Buffer.alloc(0))
  t.strictSame(value, { tags: [] })
  t.strictSame(
    codecOf(Book)
      .faults(value)
      .map(({ path }) => path),
    ['/id', '/count'],
  )
})

t.test('a field that the contract does not have is a fault, as one of JSON is', async (t) => {
  const newer = messageCodec(Type.Object({ ...Book.properties, more: Type.Optional(Type.Array(Type.String())) }))
  const value = messageCodec(Book).decode(newer.encode('{"id":"1","count":1,"tags":[],"more":["x"]}'))
  t.strictSame(codecOf(Book).faults(value), [{ path: '/field 5', message: 'is not a known field' }])
  t.strictSame(messageCodec(Type.Null()).decode(newer.encode('{"id":"1","count":1,"tags":[]}')), {
    'field 1': true,
    'field 2': true,
  })
})

t.test('a field that is added at the end changes no other', async (t) => {
  const older = messageCodec(Book).encode('{"id":"1","count":1,"tags":["a"],"author":{"born":null}}')
  const newer = messageCodec(Type.Object({ ...Book.properties, more: Type.Optional(Type.Null()) }))
  t.strictSame(newer.decode(older), { id: '1', count: 1, tags: ['a'], author: { born: null } })
})

t.test(
  'bytes that are no such message are refused or come out as something, and nothing hangs or crashes',
  async (t) => {
    const message = messageCodec(Book)
    const good = message.encode('{"id":"1","count":1,"tags":["a","b"],"author":{"born":1}}')
    let refused = 0
    const tryTo = (bytes: Buffer) => {
      try {
        message.decode(bytes)
      } catch (error) {
        refused++
        assert.ok(error instanceof Error)
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => tryTo(Buffer.from(bytes))),
      { numRuns: 2_000 },
    )
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => tryTo(Buffer.from(good).fill(byte, at, at + 1))),
      { numRuns: 2_000 },
    )
    t.ok(refused > 100, `${refused} refused`)
    for (let length = 1; length < good.length; length++) tryTo(good.subarray(0, length))
    t.throws(() => message.decode(good.subarray(0, good.length - 1)), RangeError)
    t.throws(
      () => message.decode(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])),
      'a text longer than there are bytes',
    )
    t.throws(() => message.decode(Buffer.from([0x08, 0x01])), /another type/)
    t.throws(() => message.decode(Buffer.from([0x22, 0x04, 0x09])), 'a message longer than what it is in')
  },
)
