import t from 'tap'
import { Type } from 'typebox'
import { breaksOf } from '../../scripts/contracts/breaks.ts'
import { examine } from '../../scripts/contracts/examine.ts'
import { snapshotOf } from '../../scripts/contracts/snapshot.ts'
import { catalogue } from '../../src/modules/catalogue.ts'
import { command, defineContract, event, query, upcast } from '../../src/platform/kit/contract.ts'

t.test('the contracts break nobody, and their snapshots are up to date', async (t) => {
  const { breaks, stale, gone } = await examine(catalogue, new URL('../../contracts/', import.meta.url))
  t.strictSame(breaks, [], 'see docs/changing-a-contract.md')
  if (breaks.length === 0) t.strictSame([...stale, ...gone], [], 'say: npm run contracts')
})

const User = { id: Type.String(), name: Type.String(), nick: Type.Optional(Type.String()) }
const input = { id: Type.String(), limit: Type.Optional(Type.Integer({ maximum: 10 })) }
const errors = { NotThere: { status: 404, message: 'No.' }, Busy: { status: 503, message: 'No.' } }
const getUser = { input: Type.Object(input), output: Type.Object(User), throws: ['NotThere'] as const }
const made = { version: 1, key: 'id', data: Type.Object(User) } as const
const contract = (parts: Parameters<typeof defineContract>[1]) =>
  snapshotOf(defineContract('users', { errors, ...parts }))
const before = contract({ procedures: { getUser: query(getUser) }, events: { made: event('user.made', made) } })
const dependents = { callers: ['posts'], subscribersOf: () => ['notifications'] }
const calls = (now: Parameters<typeof query>[0]) =>
  breaksOf(
    before,
    contract({ procedures: { getUser: query(now) as never }, events: { made: event('user.made', made) } }),
    dependents,
  )
const events = (...all: ReturnType<typeof event>[]) =>
  breaksOf(
    before,
    contract({ procedures: { getUser: query(getUser) }, events: Object.fromEntries(all.entries()) }),
    dependents,
  )

t.test('a procedure may ask for less and say more', async (t) => {
  t.strictSame(calls({ ...getUser, input: Type.Object({ ...input, more: Type.Optional(Type.Boolean()) }) }), [])
  t.strictSame(
    calls({
      ...getUser,
      input: Type.Object({ id: Type.String(), limit: Type.Optional(Type.Integer({ maximum: 20 })) }),
    }),
    [],
  )
  t.strictSame(calls({ ...getUser, output: Type.Object({ ...User, age: Type.Integer() }), throws: [] }), [])
})

t.test('what breaks callers is said: the procedure, the place, and who calls it', async (t) => {
  t.strictSame(calls({ ...getUser, output: Type.Object({ id: Type.String(), nick: User.nick }) }), [
    'users.getUser: output/name is missing. Who may call it: posts. Leave it as it was, and offer getUserV2 beside it.',
    'users.getUser: by gRPC output/nick was field 3 and is 2: add fields at the end. Who may call it: posts. Leave it as it was, and offer getUserV2 beside it.',
  ])
  const cases: [Parameters<typeof query>[0], RegExp][] = [
    [{ ...getUser, input: Type.Object({ ...input, why: Type.String() }) }, /input\/why is missing/],
    [{ ...getUser, input: Type.Object({ id: Type.String() }) }, /input\/limit is not known/],
    [
      { ...getUser, input: Type.Object({ id: Type.String({ format: 'uuid' }), limit: input.limit }) },
      /input\/id format/,
    ],
    [{ ...getUser, input: Type.Object({ id: Type.String(), limit: Type.Optional(Type.Integer()) }) }, /^$/],
    [
      { ...getUser, output: Type.Object({ ...User, name: Type.Union([Type.String(), Type.Null()]) }) },
      /output\/name is null, not string/,
    ],
    [{ ...getUser, output: Type.Object({ first: Type.String(), ...User }) }, /by gRPC output\/id was field 1 and is 2/],
    [{ ...getUser, throws: ['NotThere', 'Busy'] }, /it throws Busy, which callers do not know/],
  ]
  for (const [now, words] of cases) t.match(calls(now).join('\n'), words)
  const asCommand = contract({ procedures: { getUser: command(getUser) }, events: { made: event('user.made', made) } })
  t.match(breaksOf(before, asCommand, dependents)[0], /it was a query and is a command/)
})

t.test('an event may say more; anything else is a new version that reads the old one', async (t) => {
  t.strictSame(
    events(event('user.made', { ...made, data: Type.Object({ ...User, age: Type.Optional(Type.Integer()) }) })),
    [],
  )
  t.match(events(event('user.made', { ...made, data: Type.Object({ ...User, age: Type.Integer() }) })), [
    /what is on its way, data\/age is missing/,
  ])
  const Other = Type.Object({ id: Type.String(), first: Type.String() })
  t.strictSame(
    events(event('user.made', { ...made, data: Other })).map((line) => line.split('. ')[0]),
    [
      'users.user.made v1: data/name is missing',
      'users.user.made v1: data/nick is gone',
      'users.user.made v1: what is on its way, data/first is missing',
    ],
  )
  t.match(events(event('user.made', { ...made, version: 2, data: Other })), [
    'users.user.made v1: version 2 of it does not read version 1. Who handles it: notifications. Leave it as it was, or make it version 2 with upcasts from 1.',
  ])
  const from = (data: Parameters<typeof upcast>[0]) => ({
    ...made,
    version: 2,
    data: Other,
    upcasts: { 1: upcast(data, () => ({})) },
  })
  t.strictSame(events(event('user.made', from(Type.Object(User)))), [])
  t.match(events(event('user.made', from(Type.Object({ ...User, age: Type.Integer() })))), [
    /upcasts\/1\/age is missing/,
  ])
  t.match(events(event('user.made', { ...made, key: 'name' })), [/its key was id and is name/])
})

t.test('what is taken away was retired in the release before', async (t) => {
  const nothing = contract({})
  t.match(breaksOf(before, nothing, dependents), [
    /^users\.getUser: it is gone.*Mark it as retired first/,
    /^users\.user\.made v1: it is gone/,
  ])
  const retired = contract({
    procedures: { getUser: query({ ...getUser, retired: true }) },
    events: { made: event('user.made', { ...made, retired: true }) },
  })
  t.strictSame(breaksOf(before, retired, dependents), [])
  t.strictSame(breaksOf(retired, nothing, dependents), [])
})
