import t from 'tap'
import { Balancer, NobodyToAsk } from '../../../../src/platform/host/balancing/balancer.ts'
import type { Discovery, Endpoint } from '../../../../src/platform/host/discovery/discovery.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'

const URLS = ['http://a', 'http://b', 'http://c']
const balancerOf = (urls = URLS) => new Balancer(staticDiscovery(new Map([['mill', urls]])))
const picks = (balancer: Balancer, times: number, tried = 0) => {
  const counts: Record<string, number> = {}
  for (let n = 0; n < times; n++) {
    const { origin } = balancer.pick('mill', balancer.instancesOf('mill').slice(0, tried))
    counts[origin] = (counts[origin] ?? 0) + 1
  }
  return counts
}

t.test('idle instances get about the same', async (t) => {
  const counts = picks(balancerOf(), 3_000)
  for (const url of URLS) t.ok(counts[url]! > 800 && counts[url]! < 1_200, `${counts[url]}`)
})

t.test('a busier one gets less, and the busiest of all nothing', async (t) => {
  const balancer = balancerOf()
  const [a, b] = balancer.instancesOf('mill')
  for (let n = 0; n < 50; n++) a!.began()
  for (let n = 0; n < 10; n++) b!.began()
  const counts = picks(balancer, 3_000)
  t.notOk(counts['http://a'])
  t.ok(counts['http://b']! < counts['http://c']!)
})

t.test('who was asked already is asked again only if there is nobody else', async (t) => {
  const balancer = balancerOf()
  t.notOk(picks(balancer, 200, 1)['http://a'])
  t.strictSame(picks(balancer, 50, 2), { 'http://c': 50 })
  t.equal(Object.keys(picks(balancer, 200, 3)).length, 3)
})

t.test('one that fails is left out, and when all are there is nobody to ask', async (t) => {
  const balancer = balancerOf()
  const break_ = (n: number) => {
    for (let times = 0; times < 5; times++) {
      balancer.instancesOf('mill')[n]!.began()
      balancer.instancesOf('mill')[n]!.ended('failed')
    }
  }
  break_(0)
  t.notOk(picks(balancer, 200)['http://a'])
  break_(1)
  break_(2)
  for (const module of ['mill', 'unknown']) {
    try {
      t.fail(balancer.pick(module).origin)
    } catch (error) {
      t.ok(error instanceof NobodyToAsk)
      t.match(error, { code: 'Unavailable', module })
    }
  }
})

t.test('one that is about to stop and then fails is tried again as soon as any other', async (t) => {
  const balancer = balancerOf()
  const [a] = balancer.instancesOf('mill')
  const now = performance.now()
  for (let times = 0; times < 5; times++) {
    a!.began(now)
    a!.ended('failed')
  }
  a!.drains(now)
  const isAsked = (at: number) => Array.from({ length: 200 }, () => balancer.pick('mill', [], at)).includes(a!)
  t.notOk(isAsked(now + 400))
  t.ok(isAsked(now + 600), 'though it is left alone for two seconds')
  a!.began(now + 600)
  t.notOk(isAsked(now + 700), 'one request tries')
  a!.ended('answered', 1)
  t.notOk(isAsked(now + 800), 'then it is left alone')
  t.equal(
    balancer.pick('mill', balancer.instancesOf('mill').slice(1), now + 800),
    a,
    'but is there when the others are not',
  )
})

t.test('requests that are given up say nothing about an instance', async (t) => {
  const balancer = balancerOf()
  const [a] = balancer.instancesOf('mill')
  for (let n = 0; n < 20; n++) {
    a!.began()
    a!.ended('given up')
  }
  t.equal(a!.inFlight, 0)
  t.ok(picks(balancer, 200)['http://a'])
})

t.test('what was seen of an instance is kept while others come and go', async (t) => {
  const lists: (readonly Endpoint[])[] = ['a', 'ab', 'bc'].map((names) =>
    [...names].map((name) => ({ origin: `http://${name}`, weight: 1, priority: 0 })),
  )
  const discovery: Discovery = { ...staticDiscovery(new Map()), endpointsOf: () => lists[0]! }
  const balancer = new Balancer(discovery)
  balancer.instancesOf('mill')[0]!.began()
  lists.shift()
  const [a, b] = balancer.instancesOf('mill')
  t.equal(a!.inFlight, 1)
  b!.began()
  lists.shift()
  t.strictSame(
    balancer.instancesOf('mill').map(({ origin, inFlight }) => [origin, inFlight]),
    [
      ['http://b', 1],
      ['http://c', 0],
    ],
  )
})

t.test(
  'one that takes much longer than the others is left out for a while, but never more than half of them',
  async (t) => {
    const balancer = balancerOf([...URLS, 'http://d'])
    const [a, b, c, d] = balancer.instancesOf('mill')
    const took = (instance: typeof a, milliseconds: number) => {
      instance!.began()
      instance!.ended('answered', milliseconds)
    }
    for (const quick of [c, d]) took(quick, 2)
    took(a, 200)
    took(b, 15)
    t.notOk(picks(balancer, 200)['http://a'])
    t.ok(picks(balancer, 200)['http://b'], 'a little slower is no matter')
    const all = balancerOf()
    for (const instance of all.instancesOf('mill')) took(instance, 2_000)
    t.equal(Object.keys(picks(all, 200)).length, 3, 'when all are slow it is nobody’s fault')
    const pair = balancerOf(['http://a', 'http://b'])
    const [slow, quick] = pair.instancesOf('mill')
    took(slow, 2_000)
    took(quick, 2)
    t.strictSame(picks(pair, 100), { 'http://b': 100 })
    for (let n = 0; n < 5; n++) {
      quick!.began()
      quick!.ended('failed')
    }
    t.strictSame(picks(pair, 100), { 'http://a': 100 }, 'a slow one is better than none')
  },
)
