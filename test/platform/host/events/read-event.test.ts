import t from 'tap'
import { Type } from 'typebox'
import type { Delivery } from '../../../../src/platform/host/events/delivery.ts'
import { readEvent, reads } from '../../../../src/platform/host/events/read-event.ts'
import { defineContract, event, upcast } from '../../../../src/platform/kit/contract.ts'

const One = Type.Object({ id: Type.String(), name: Type.String() })
const Two = Type.Object({ id: Type.String(), first: Type.String(), last: Type.String() })
const Three = Type.Object({
  id: Type.String(),
  name: Type.Object({ first: Type.String(), last: Type.String() }),
  tags: Type.Array(Type.Object({ tag: Type.String() })),
})
const { joined } = defineContract('club', {
  events: {
    joined: event('member.joined', {
      version: 3,
      key: 'id',
      data: Three,
      upcasts: {
        1: upcast(One, ({ id, name }) => ({ id, first: name.split(' ')[0], last: name.split(' ')[1] })),
        2: upcast(Two, ({ id, first, last }) => ({ id, name: { first, last }, tags: [] })),
      },
    }),
  },
}).events

const read = (version: number, data: unknown) =>
  readEvent(joined, { id: 'e', name: joined.name, version, key: 'k', sequence: 1, occurredAt: '', data } as Delivery)

t.test('an event of an earlier version becomes one of this version, step by step', async (t) => {
  const data = { id: '1', name: { first: 'Ada', last: 'Lovelace' }, tags: [] }
  t.strictSame(read(1, { id: '1', name: 'Ada Lovelace' }).data, data)
  t.match(read(2, { id: '1', first: 'Ada', last: 'Lovelace' }), { version: 3, data })
})

t.test('what a publisher of the next release has added is left out, however deep', async (t) => {
  const data = { id: '1', name: { first: 'Ada', last: 'L', middle: 'B' }, tags: [{ tag: 'x', by: 'y' }], since: 1843 }
  const known = { id: '1', name: { first: 'Ada', last: 'L' }, tags: [{ tag: 'x' }] }
  t.strictSame(read(3, data).data, known)
})

t.test('data that no version explains are refused, with the version and the path', async (t) => {
  t.throws(() => read(1, { id: '1', name: 7 }), { message: /^member\.joined v1 is not .*: \/name must be string\.$/ })
  t.throws(() => read(1, { id: '1', name: 'Ada' }), { message: /^member\.joined v2 is not .*: \/last is missing\.$/ })
  t.throws(() => read(3, undefined), { message: /^member\.joined v3 is not/ })
})

t.test('a version is read when each step to this one is known', async (t) => {
  t.strictSame(
    [0, 1, 2, 3, 4].map((version) => reads(joined, version)),
    [false, true, true, true, false],
  )
})
