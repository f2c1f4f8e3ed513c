import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type TSchema, Type } from 'typebox'
import { codecOf, deepFreeze, roundTrip } from '../../../src/platform/host/codec.ts'

const User = Type.Object({
  id: Type.String({ format: 'uuid' }),
  name: Type.String({ minLength: 1 }),
  role: Type.Enum(['member', 'admin']),
  address: Type.Optional(Type.Object({ city: Type.String(), zip: Type.Optional(Type.String()) })),
})
const user = { id: '01890000-0000-7000-8000-000000000001', name: 'Ada', role: 'member' }
const MIB = 1024 * 1024

t.test('all faults of a value are found at once, each with its place', async (t) => {
  const codec = codecOf(User)
  t.strictSame(codec.faults(user), [])
  const faults = codec.faults({ id: 'x', name: '', role: 'root', address: { zip: 1, street: 's' }, age: 3 })
  t.strictSame(
    new Map(faults.map(({ path, message }) => [path, message])),
    new Map([
      ['/age', 'is not a known field'],
      ['/id', 'must match format "uuid"'],
      ['/name', 'must NOT have fewer than 1 characters'],
      ['/role', 'must be one of member, admin'],
      ['/address/street', 'is not a known field'],
      ['/address/city', 'is missing'],
      ['/address/zip', 'must be string'],
    ]),
  )
})

t.test('a codec is made once for a schema', async (t) => {
  t.equal(codecOf(User), codecOf(User))
  t.not(codecOf(User), codecOf(Type.Object({ ...User.properties })))
})

t.test("the contract's own schema stays as it was", async (t) => {
  const before = JSON.stringify(User)
  codecOf(User).check(user)
  codecOf(User).encode(user)
  t.equal(JSON.stringify(User), before)
})

t.test('nothing is coerced, filled in or removed by a check', async (t) => {
  const codec = codecOf(
    Type.Object({ n: Type.Optional(Type.Integer({ default: 7 })), s: Type.Optional(Type.String()) }),
  )
  for (const value of [{ n: '1' }, { s: 1 }, { n: true }, { n: null }, { n: 1.5 }, { x: 1 }]) {
    const copy = structuredClone(value)
    t.notOk(codec.check(value), JSON.stringify(value))
    t.strictSame(value, copy)
  }
  const empty = {}
  t.ok(codec.check(empty))
  t.strictSame(empty, {})
})

t.test('what JSON cannot say conforms to no schema', async (t) => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    t.notOk(codecOf(Type.Number()).check(value))
    t.notOk(codecOf(Type.Integer()).check(value))
  }
  for (const schema of [Type.Unknown(), Type.Any(), Type.Null(), Type.Optional(Type.String())]) {
    t.notOk(codecOf(schema).check(undefined))
    t.strictSame(codecOf(schema).faults(undefined), [{ path: '', message: 'is missing' }])
  }
})

t.test('only declared fields are written', async (t) => {
  const text = codecOf(User).encode({ ...user, password: 'x', address: { city: 'Bern', code: 7 } })
  t.strictSame(JSON.parse(text), { ...user, address: { city: 'Bern' } })
})

t.test('what cannot be written is an error, never broken JSON', async (t) => {
  const codec = codecOf(Type.Unknown())
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  for (const value of [undefined, () => 1, Symbol('s'), 1n, cycle]) t.throws(() => codec.encode(value))
})

t.test('an object refuses what it does not declare, however it is composed', async (t) => {
  const A = Type.Object({ a: Type.String() })
  const B = Type.Object({ b: Type.Optional(Type.Integer()) })
  const cases: [string, TSchema, unknown[], unknown[]][] = [
    [
      'intersection',
      Type.Intersect([A, B]),
      [{ a: 'x' }, { a: 'x', b: 1 }],
      [{ b: 1 }, { a: 'x', b: 'y' }, { a: 'x', c: 1 }],
    ],
    [
      'intersection of intersections',
      Type.Intersect([Type.Intersect([A, B]), Type.Object({ c: Type.Null() })]),
      [{ a: 'x', c: null }],
      [{ a: 'x' }, { a: 'x', c: null, d: 1 }],
    ],
    [
      'intersection that declares a field twice',
      Type.Intersect([
        Type.Object({ n: Type.Integer({ minimum: 1 }) }),
        Type.Object({ n: Type.Integer({ maximum: 3 }) }),
      ]),
      [{ n: 1 }, { n: 3 }],
      [{ n: 0 }, { n: 4 }],
    ],
    [
      'intersection with a union',
      Type.Intersect([A, Type.Union([Type.Object({ k: Type.Literal(1) }), Type.Object({ k: Type.Literal(2) })])]),
      [{ a: 'x', k: 1 }],
      [{ a: 'x', k: 3 }, { k: 1 }],
    ],
    ['union', Type.Union([A, B]), [{ a: 'x' }, { b: 1 }, {}], [{ a: 'x', b: 1 }, { c: 1 }]],
    ['part', Type.Partial(A), [{}, { a: 'x' }], [{ b: 1 }]],
    ['list', Type.Array(A), [[{ a: 'x' }], []], [[{ a: 'x', b: 1 }]]],
    [
      'tuple',
      Type.Tuple([A, Type.Integer()]),
      [[{ a: 'x' }, 1]],
      [[{ a: 'x', b: 1 }, 1], [{ a: 'x' }], [{ a: 'x' }, 1, 2]],
    ],
    ['empty', Type.Object({}), [{}], [{ a: 1 }]],
    ['open', Type.Object({ a: Type.String() }, { additionalProperties: true }), [{ a: 'x', b: 1 }], [{ b: 1 }]],
    [
      'record',
      Type.Record(Type.String(), Type.Integer()),
      [{}, { a: 1, '': 2, '\n': 3, 'a\nb': 4 }],
      [{ a: 'x' }, { '\n': 'x' }],
    ],
    [
      'record of some keys',
      Type.Record(Type.String({ pattern: '^x-' }), Type.Integer()),
      [{ 'x-a': 1 }],
      [{ 'x-a': 'y' }, { y: 1 }],
    ],
    [
      'recursive',
      Type.Cyclic({ Node: Type.Object({ n: Type.Integer(), next: Type.Optional(Type.Ref('Node')) }) }, 'Node'),
      [{ n: 1 }, { n: 1, next: { n: 2 } }],
      [
        { n: 1, next: { n: 'x' } },
        { n: 1, next: { n: 2, m: 3 } },
      ],
    ],
    [
      'fields that are called like keywords',
      Type.Object({ type: Type.Literal('object'), properties: Type.Integer(), allOf: Type.Optional(Type.Null()) }),
      [
        { type: 'object', properties: 1 },
        { type: 'object', properties: 1, allOf: null },
      ],
      [{ type: 'object' }, { type: 'object', properties: 1, required: 1 }],
    ],
  ]
  for (const [what, schema, good, bad] of cases) {
    const codec = codecOf(schema)
    for (const value of good) {
      t.strictSame(codec.faults(value), [], `${what} takes ${JSON.stringify(value)}`)
      t.strictSame(JSON.parse(codec.encode(value)), value, `${what} keeps ${JSON.stringify(value)}`)
    }
    for (const value of bad) t.notOk(codec.check(value), `${what} refuses ${JSON.stringify(value)}`)
  }
})

t.test('a round trip gives an equal value that shares nothing with the first and cannot be changed', async (t) => {
  const value = { ...user, address: { city: 'Bern' } }
  const { value: copy, difference } = roundTrip(codecOf(User), value, MIB) as {
    value: typeof value
    difference: unknown
  }
  t.equal(difference, undefined)
  t.strictSame(copy, value)
  t.not(copy, value)
  t.not(copy.address, value.address)
  t.ok(Object.isFrozen(copy) && Object.isFrozen(copy.address))
  t.notOk(Object.isFrozen(value))
})

t.test('a round trip changes nothing that JSON can say', async (t) => {
  const codec = codecOf(Type.Unknown())
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value))
      const { value: copy, difference } = roundTrip(codec, plain, MIB)
      assert.equal(difference, undefined)
      assert.deepStrictEqual(copy, plain)
    }),
  )
  t.pass()
})

t.test('a round trip says what it would change, and where', async (t) => {
  class Point {
    x = 1
  }
  const cases: [unknown, string][] = [
    [{ a: { b: [0, new Date(0)] } }, '/a/b/1 is a Date here and "1970-01-01T00:00:00.000Z" on the far side'],
    [{ a: new Point() }, '/a is a Point here and {"x":1} on the far side'],
    [
      Object.assign(Object.create(null), { a: 1 }),
      'the value is a object without a prototype here and {"a":1} on the far side',
    ],
    [{ a: [1, undefined] }, '/a/1 is missing here and null on the far side'],
    [{ a: Number.NaN }, '/a is NaN here and null on the far side'],
    [-0, 'the value is -0 here and 0 on the far side'],
    [new Set([1]), 'the value is a Set here and {} on the far side'],
    [1n, 'it cannot be written as JSON (Do not know how to serialize a BigInt)'],
    ['x'.repeat(MIB), 'it weighs more than 1 MiB'],
    ['ü'.repeat(MIB / 2), 'it weighs more than 1 MiB'],
  ]
  for (const [value, words] of cases) t.equal(roundTrip(codecOf(Type.Unknown()), value, MIB).difference, words)
  const extra = roundTrip(codecOf(User), { ...user, address: { city: 'Bern', canton: 'BE' } }, MIB)
  t.equal(extra.difference, '/address/canton is "BE" here and missing on the far side')
})

t.test('an optional field that is set to undefined is no difference', async (t) => {
  t.equal(roundTrip(codecOf(User), { ...user, address: undefined }, MIB).difference, undefined)
  t.equal(roundTrip(codecOf(User), { ...user, address: { city: 'Bern', zip: undefined } }, MIB).difference, undefined)
})

t.test('freezing reaches every part', async (t) => {
  const value = deepFreeze({ inner: { list: [{ n: 1 }] }, nothing: null, text: 'x' })
  for (const part of [value, value.inner, value.inner.list, value.inner.list[0]]) t.ok(Object.isFrozen(part))
  for (const alone of [null, undefined, 1, 'x']) t.equal(deepFreeze(alone), alone)
})
