import fc from 'fast-check'
import t from 'tap'
import { type TSchema, Type } from 'typebox'
import { misfits, type Schema } from '../../scripts/contracts/accepts.ts'
import { codecOf } from '../../src/platform/host/codec.ts'

const bound = fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined })
const bounded = (least: string, most: string) =>
  fc
    .tuple(bound, bound)
    .map(([a, b]) => ({ ...(a !== undefined && { [least]: a }), ...(b !== undefined && { [most]: b }) }))
const leaf = fc.oneof(
  bounded('minLength', 'maxLength').map((bounds): TSchema => Type.String(bounds)),
  bounded('minimum', 'maximum').map((bounds): TSchema => Type.Integer(bounds)),
  fc.constantFrom<TSchema>(
    Type.Number(),
    Type.Boolean(),
    Type.Null(),
    Type.Literal('a'),
    Type.Literal(1),
    Type.Unknown(),
  ),
  fc.constantFrom<TSchema>(Type.Union([Type.Literal('a'), Type.Literal('b')]), {
    type: 'string',
    enum: ['', 'b'],
  } as TSchema),
)
type Pair = [TSchema, TSchema]
/** Two schemas that have much in common, as those of two versions have. */
const { pair } = fc.letrec<{ pair: Pair }>((tie) => {
  const field = fc.record({
    pair: tie('pair'),
    optional: fc.tuple(fc.boolean(), fc.boolean()),
    absent: fc.constantFrom(-1, -1, -1, 0, 1),
  })
  const object = fc
    .dictionary(fc.constantFrom('x', 'y', 'z'), field, { maxKeys: 3, noNullPrototype: true })
    .map((fields): Pair => {
      const side = (n: 0 | 1) =>
        Type.Object(
          Object.fromEntries(
            Object.entries(fields)
              .filter(([, { absent }]) => absent !== n)
              .map(([name, { pair, optional }]) => [name, optional[n] ? Type.Optional(pair[n]) : pair[n]]),
          ),
        )
      return [side(0), side(1)]
    })
  const both =
    (make: (schema: TSchema) => TSchema) =>
    (pair: Pair): Pair => [make(pair[0]), make(pair[1])]
  return {
    pair: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { weight: 3, arbitrary: leaf.map((schema): Pair => [schema, schema]) },
      { weight: 2, arbitrary: fc.tuple(leaf, leaf) },
      { weight: 4, arbitrary: object },
      { weight: 1, arbitrary: tie('pair').map(both((schema) => Type.Array(schema, { maxItems: 2 }))) },
      { weight: 1, arbitrary: tie('pair').map(both((schema) => Type.Record(Type.String(), schema))) },
      { weight: 1, arbitrary: tie('pair').map(([a, b]): Pair => [a, Type.Union([b, Type.Null()])]) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(tie('pair'), tie('pair'))
          .map(([[a, b], [c, d]]): Pair => [Type.Union([a, c]), Type.Union([b, d])]),
      },
    ),
  }
})

/** Values that a schema may allow, at its edges above all. */
function valuesFor(schema: Schema): fc.Arbitrary<unknown> {
  const { anyOf, type, properties = {}, required = [], items, minimum = -1, maximum = 3 } = schema
  if (anyOf) return fc.oneof(...anyOf.map(valuesFor))
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (type === 'string') return fc.constantFrom('', 'a', 'b', 'ab', 'abc')
  if (type === 'integer')
    return fc.integer({
      min: Math.min(minimum as number, maximum as number),
      max: Math.max(minimum as number, maximum as number),
    })
  if (type === 'number') return fc.constantFrom(0, 1, 1.5)
  if (type === 'boolean') return fc.boolean()
  if (type === 'null') return fc.constant(null)
  if (type === 'array') return fc.array(valuesFor(items as Schema), { maxLength: 2 })
  if (type === 'object' && schema.patternProperties)
    return fc.dictionary(fc.constantFrom('x', 'w'), valuesFor(Object.values(schema.patternProperties)[0] as Schema), {
      noNullPrototype: true,
    })
  if (type === 'object')
    return fc.record(Object.fromEntries(Object.entries(properties).map(([name, part]) => [name, valuesFor(part)])), {
      requiredKeys: [...required],
      noNullPrototype: true,
    })
  return fc.constantFrom(null, 1, 'a', { q: 1 })
}

for (const unknown of ['refuse', 'ignore'] as const) {
  t.test(`what fits a reader who ${unknown}s unknown fields is valid there, whatever it is`, async (t) => {
    let fitting = 0
    let refused = 0
    const property = fc.property(
      pair.chain(([writer, reader]) =>
        fc.tuple(
          fc.constant([writer, reader] as const),
          fc.array(valuesFor(writer as Schema), { minLength: 3, maxLength: 6 }),
        ),
      ),
      ([[writer, reader], values]) => {
        if (misfits(writer as Schema, reader as Schema, unknown).length > 0) {
          refused++
          return true
        }
        fitting++
        const [writes, reads] = [codecOf(writer), codecOf(reader)]
        return values
          .filter((value) => writes.check(value))
          .every((value) => reads.check(unknown === 'ignore' && !reads.check(value) ? reads.known(value) : value))
      },
    )
    fc.assert(property, { numRuns: 1_500 })
    t.comment(`${fitting} fit, ${refused} do not`)
    t.ok(fitting > 300 && refused > 300, 'both happen')
  })
}

const Base = {
  id: Type.String(),
  n: Type.Integer({ minimum: 0, maximum: 9 }),
  kind: Type.Union([Type.Literal('a'), Type.Literal('b')]),
}
const shape = (parts: Record<string, TSchema>) => Type.Object(parts) as unknown as Schema

t.test('what does not fit is named with its place', async (t) => {
  const cases: [Record<string, TSchema>, Record<string, TSchema>, string][] = [
    [{ id: Base.id }, Base, '/n is missing, /kind is missing'],
    [{ ...Base, n: Type.Integer({ minimum: -1, maximum: 9 }) }, Base, '/n minimum is -1, not 0'],
    [{ ...Base, n: Type.Integer() }, Base, '/n minimum is none, not 0, /n maximum is none, not 9'],
    [{ ...Base, id: Type.Integer() }, Base, '/id is integer, not string'],
    [{ ...Base, id: Type.Optional(Type.String()) }, Base, '/id may be missing'],
    [{ ...Base, kind: Type.Literal('c') }, Base, '/kind may be "c"'],
    [
      { list: Type.Array(Type.String()) },
      { list: Type.Array(Type.String({ format: 'uuid' })) },
      '/list/* format is none, not "uuid"',
    ],
    [Base, { ...Base, note: Type.Optional(Type.String()) }, '/note is gone'],
  ]
  for (const [writer, reader, words] of cases)
    t.equal(
      misfits(shape(writer), shape(reader), 'ignore')
        .map(({ path, why }) => `${path} ${why}`)
        .join(', '),
      words,
    )
  t.strictSame(misfits(shape({ ...Base, more: Type.String() }), shape(Base), 'ignore'), [])
  t.strictSame(misfits(shape({ ...Base, more: Type.String() }), shape(Base), 'refuse'), [
    { path: '/more', why: 'is not known' },
  ])
})
