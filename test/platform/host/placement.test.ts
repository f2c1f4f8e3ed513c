import t from 'tap'
import { Type } from 'typebox'
import { place } from '../../../src/platform/host/placement.ts'
import { type Contract, type ContractEvent, defineContract, event } from '../../../src/platform/kit/contract.ts'
import { defineModule, type Manifest } from '../../../src/platform/kit/module.ts'

const contractOf = (name: string, routes: `/api/${string}`[] = []) =>
  defineContract(name, {
    routes,
    events: {
      happened: event(`${name}.happened`, { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }),
    },
  })

const moduleOf = (contract: Contract, uses: Contract[] = [], subscribes: ContractEvent[] = []): Manifest =>
  defineModule(contract, { uses, subscribes, plugin: async () => ({ default: () => {} }) })

const [a, b, c, d] = [
  contractOf('a', ['/api/a']),
  contractOf('b', ['/api/b']),
  contractOf('c', ['/api/c']),
  contractOf('d', ['/api/d']),
]
/** `b` calls `a`, `c` calls `b`, `d` listens to `a`. */
const good = [moduleOf(a), moduleOf(b, [a]), moduleOf(c, [b]), moduleOf(d, [], [a.events.happened])]

const everywhere = (_module: string) => true
const nowhere = (_module: string) => false
const faultsOf = (catalogue: Manifest[], modules: 'all' | 'none' | string[] = 'all', reachable = everywhere) =>
  place(catalogue, modules, reachable).faults

t.test('modules that fit together are placed as they are named', async (t) => {
  const names = (manifests: readonly Manifest[]) => manifests.map(({ contract }) => contract.name).join('')
  for (const [modules, hosted, remote] of [
    ['all', 'abcd', ''],
    ['none', '', 'abcd'],
    [['c', 'a'], 'ac', 'bd'],
    [['a', 'a'], 'a', 'bcd'],
    [[], '', 'abcd'],
  ] as const) {
    const { placement, faults } = place(good, modules, everywhere)
    t.strictSame(faults, [])
    t.equal(names(placement.hosted), hosted)
    t.equal(names(placement.remote), remote)
    t.equal(names(placement.all), 'abcd')
    for (const name of 'abcd') t.equal(placement.hosts(name), hosted.includes(name))
  }
})

t.test('the subscribers of an event are known wherever they run', async (t) => {
  const { placement } = place(good, ['a'], everywhere)
  t.strictSame(placement.subscribersOf(a.events.happened), [{ name: 'd', unordered: false, replay: false }])
  t.strictSame(placement.subscribersOf(b.events.happened), [])
})

t.test('a module that is not known is named, and so are those that are', async (t) => {
  const faults = faultsOf(good, ['a', 'user', 'B'])
  t.equal(faults.length, 2)
  t.match(faults[0], 'MODULES names "user", which is no module. Known: a, b, c, d. Example: MODULES=a')
  t.match(faults[1], 'MODULES names "B"')
})

t.test('"all" and "none" are no names in a list', async (t) => {
  t.match(faultsOf(good, ['all', 'a']), [/MODULES names "all"/])
})

t.test('a circle of calls is refused, and shown', async (t) => {
  const circle = [moduleOf(a, [c]), moduleOf(b, [a]), moduleOf(c, [b]), moduleOf(d, [a])]
  t.match(faultsOf(circle), [/^Modules call each other in a circle: a -> c -> b -> a\. .+ events/])
  t.match(faultsOf([moduleOf(a, [a])]), [/in a circle: a -> a\./])
})

t.test('two circles are both shown', async (t) => {
  const circles = [moduleOf(a, [b]), moduleOf(b, [a]), moduleOf(c, [d]), moduleOf(d, [c, a])]
  t.match(faultsOf(circles), [/in a circle: a -> b -> a\./, /in a circle: c -> d -> c\./])
})

t.test('many ways to one module are no circle', async (t) => {
  t.strictSame(faultsOf([moduleOf(a), moduleOf(b, [a]), moduleOf(c, [a, b]), moduleOf(d, [c, b, a])]), [])
})

t.test('modules may listen to each other in a circle', async (t) => {
  t.strictSame(faultsOf([moduleOf(a, [b], []), moduleOf(b, [], [a.events.happened, b.events.happened])]), [])
})

t.test('using a contract that is not in the catalogue is refused', async (t) => {
  const stranger = contractOf('stranger')
  t.match(faultsOf([moduleOf(a, [stranger]), moduleOf(b)]), ['"a" uses "stranger", which is not in the catalogue.'])
  const double = contractOf('b')
  t.match(faultsOf([moduleOf(a, [double]), moduleOf(b)]), ['"a" uses "b", which is not in the catalogue.'])
})

t.test('using what an import in a circle left undefined is refused, not a crash', async (t) => {
  const [undefinedContract, undefinedEvent] = [undefined, undefined] as unknown as [Contract, ContractEvent]
  t.equal(faultsOf([moduleOf(a, [undefinedContract], [undefinedEvent])]).length, 2)
})

t.test('subscribing to an event that no contract has is refused', async (t) => {
  const stranger = contractOf('stranger')
  t.match(faultsOf([moduleOf(a, [], [stranger.events.happened])]), [
    '"a" subscribes to "stranger.happened", which no contract in the catalogue has.',
  ])
})

t.test('two modules cannot claim one prefix, name or event', async (t) => {
  const [one, two] = [contractOf('one', ['/api/x', '/api/y']), contractOf('two', ['/api/y'])]
  t.match(faultsOf([moduleOf(one), moduleOf(two)]), ['"one" and "two" both claim the REST prefix "/api/y".'])
  t.match(faultsOf([moduleOf(a), moduleOf(contractOf('a'))]), [
    /are both called "a"/,
    /both have the event "a.happened v1"/,
  ])
})

t.test('a name that cannot be a schema, a variable and a path is refused', async (t) => {
  for (const name of ['', 'Users', '1st', 'a_b', 'a b', 'a/b', 'ü', 'seam'])
    t.match(faultsOf([moduleOf(contractOf(name))]), [/cannot be a module's name/], name)
  for (const name of ['a', 'user-accounts', 'v2']) t.strictSame(faultsOf([moduleOf(contractOf(name))]), [])
})

t.test('a module that is hosted here must be able to reach what it calls', async (t) => {
  t.strictSame(faultsOf(good, ['a'], nowhere), [], 'it calls nobody')
  t.strictSame(faultsOf(good, ['a', 'b'], nowhere), [], 'what it calls is here too')
  t.strictSame(faultsOf(good, ['d'], nowhere), [], 'who only listens needs no address')
  t.strictSame(
    faultsOf(good, ['b'], (module) => module === 'a'),
    [],
  )
  t.match(faultsOf(good, ['b', 'c'], nowhere), [
    /^A_URL is missing: "b" is hosted here and calls "a", which is not\. Example: A_URL=http/,
  ])
  const accounts = contractOf('user-accounts')
  t.match(faultsOf([moduleOf(accounts), moduleOf(b, [accounts])], ['b'], nowhere), [/^USER_ACCOUNTS_URL is missing/])
})

t.test('everything that is wrong is named at once', async (t) => {
  const stranger = contractOf('stranger')
  const [one, two] = [contractOf('one', ['/api/x']), contractOf('two', ['/api/x'])]
  const faults = faultsOf(
    [moduleOf(one, [two, stranger], [stranger.events.happened]), moduleOf(two, [one]), moduleOf(a), moduleOf(b, [a])],
    ['one', 'two', 'b', 'nobody'],
    nowhere,
  )
  for (const words of [
    'MODULES names "nobody"',
    '"one" uses "stranger"',
    '"one" subscribes to "stranger.happened"',
    'both claim the REST prefix "/api/x"',
    'in a circle: one -> two -> one',
    'A_URL is missing',
  ])
    t.equal(faults.filter((fault) => fault.includes(words)).length, 1, words)
  t.equal(faults.length, 6)
})

t.test('a prefix in the prefix of another module, or of the platform, is refused', async (t) => {
  const [outer, inner] = [contractOf('outer', ['/api/x']), contractOf('inner', ['/api/x/y', '/api/xy'])]
  t.strictSame(faultsOf([moduleOf(outer), moduleOf(inner)]), [
    '"inner" claims the REST prefix "/api/x/y", which lies in "/api/x" of "outer".',
  ])
  t.match(faultsOf([moduleOf(contractOf('doctor', ['/api/health']))]), [/"\/api\/health" of the platform/])
  t.strictSame(faultsOf([moduleOf(contractOf('one', ['/api/x', '/api/x/y']))]), [], 'its own may lie in each other')
})
