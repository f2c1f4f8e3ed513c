import t from 'tap'
import { Balancer } from '../../../../src/platform/host/balancing/balancer.ts'
import type { Discovery, Endpoint } from '../../../../src/platform/host/discovery/discovery.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'
import { Unavailable } from '../../../../src/platform/kit/errors.ts'

const DRAWS = 4_000

/** A balancer over what `at` lists at the moment. */
function balancing(...endpoints: [origin: string, weight: number, priority?: number][]) {
  const listed = (list: typeof endpoints): readonly Endpoint[] =>
    list.map(([origin, weight, priority = 0]) => ({ origin, weight, priority }))
  let current = listed(endpoints)
  const discovery: Discovery = { ...staticDiscovery(new Map()), endpointsOf: () => current }
  const balancer = new Balancer(discovery)
  const instance = (origin: string) => balancer.instancesOf('users').find((one) => one.origin === origin)!
  return {
    balancer,
    instance,
    become: (...list: typeof endpoints) => {
      current = listed(list)
    },
    fail: (origin: string) => {
      for (let n = 0; n < 10; n++) instance(origin).breaker.failed()
    },
    /** How often each is picked, of 4,000 times. */
    shares: (tried: string[] = []) => {
      const counts: Record<string, number> = {}
      for (let n = 0; n < DRAWS; n++) {
        const { origin } = balancer.pick('users', tried.map(instance))
        counts[origin] = (counts[origin] ?? 0) + 1
      }
      return counts
    },
  }
}

// Of 4,000 draws a share of a fourth lies within 850 and 1150, but once in ten million times.
const about =
  (share: number) =>
  (count = 0) =>
    Math.abs(count - share * DRAWS) < 150

t.test('instances of equal weight are asked equally', async (t) => {
  const counts = balancing(['a', 7], ['b', 7], ['c', 7], ['d', 7]).shares()
  for (const origin of ['a', 'b', 'c', 'd']) t.ok(about(1 / 4)(counts[origin]), `${origin}: ${counts[origin]}`)
})

t.test('instances are asked by their weights, and the same under load', async (t) => {
  const { shares, balancer } = balancing(['a', 3], ['b', 1])
  const counts = shares()
  t.ok(about(3 / 4)(counts.a), `a: ${counts.a}`)
  for (let n = 0; n < DRAWS; n++) balancer.pick('users').began()
  const [a, b] = balancer.instancesOf('users').map(({ inFlight }) => inFlight)
  t.ok(about(3 / 4)(a), `a has ${a} requests`)
  t.ok(about(1 / 4)(b), `b has ${b} requests`)
})

t.test('one of weight 0 is asked only while no other can be', async (t) => {
  const { shares, fail } = balancing(['a', 1], ['b', 0])
  t.strictSame(shares(), { a: DRAWS })
  t.strictSame(shares(['a']), { b: DRAWS })
  fail('a')
  t.strictSame(shares(), { b: DRAWS })
})

t.test('where all have weight 0 they are asked equally', async (t) => {
  const counts = balancing(['a', 0], ['b', 0]).shares()
  t.ok(about(1 / 2)(counts.a), `a: ${counts.a}`)
})

t.test('a higher number of priority is asked only while no lower one can be', async (t) => {
  const { shares, fail, instance } = balancing(['spare', 100, 20], ['a', 1, 10], ['b', 0, 10], ['last', 1, 30])
  t.strictSame(shares(), { a: DRAWS })
  fail('a')
  t.strictSame(shares(), { b: DRAWS }, 'one of weight 0 comes before another priority')
  fail('b')
  t.strictSame(shares(), { spare: DRAWS })
  fail('spare')
  t.strictSame(shares(), { last: DRAWS })
  instance('a').breaker.began()
  instance('a').breaker.succeeded()
  t.strictSame(shares(), { a: DRAWS })
})

t.test('what has been tried is asked again only when there is nothing else, of whatever priority', async (t) => {
  const { shares } = balancing(['a', 1, 1], ['b', 1, 2])
  t.strictSame(shares(['a']), { b: DRAWS })
  t.strictSame(shares(['a', 'b']), { a: DRAWS })
})

t.test('when all are left out, or there is none, the module is unavailable', async (t) => {
  const { balancer, fail, become } = balancing(['a', 1])
  fail('a')
  t.throws(() => balancer.pick('users'), Unavailable)
  become()
  t.throws(() => balancer.pick('users'), Unavailable)
})

t.test('a change of the list keeps what is known of those that stay', async (t) => {
  const { shares, become, instance, fail } = balancing(['a', 1], ['b', 1])
  const [a, b] = [instance('a'), instance('b')]
  a.began()
  fail('b')
  become(['c', 1], ['b', 1], ['a', 9, 0])
  t.equal(instance('a'), a)
  t.equal(instance('b'), b)
  t.strictSame([a.inFlight, a.weight], [1, 9])
  t.strictSame(Object.keys(shares()).sort(), ['a', 'c'])
  become(['c', 1])
  t.strictSame(shares(), { c: DRAWS })
})
