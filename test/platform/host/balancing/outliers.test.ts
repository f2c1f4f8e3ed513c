import t from 'tap'
import { Instance } from '../../../../src/platform/host/balancing/instance.ts'
import { leaveOutSlow } from '../../../../src/platform/host/balancing/outliers.ts'

/** Two quick instances and a slow one, which has just been left out for that, with another request under way. */
function slowOne() {
  const start = performance.now()
  const [slow, ...quick] = ['a', 'b', 'c'].map(
    (name) => new Instance({ origin: `http://${name}`, weight: 1, priority: 0 }),
  )
  const all = [slow!, ...quick]
  for (const instance of all) instance.began(start)
  slow!.began(start)
  for (const instance of quick) instance.ended('answered', 2)
  slow!.ended('answered', 200)
  leaveOutSlow(all, start)
  return { start, slow: slow!, compare: (now: number) => leaveOutSlow(all, now) }
}

t.test('one request tries a slow instance, and nobody else asks it before it is judged', async (t) => {
  const { start, slow, compare } = slowOne()
  t.ok(slow.isLeftOut(start + 4_999))
  slow.ended('answered', 200)
  compare(start + 4_999)
  t.notOk(slow.isLeftOut(start + 5_001), 'what it was asked before does not count')
  slow.began(start + 5_001)
  t.ok(slow.isLeftOut(start + 5_002))
  slow.ended('answered', 200)
  compare(start + 5_201)
  t.ok(slow.isLeftOut(start + 10_200), 'it is still slow')
  slow.began(start + 10_202)
  slow.ended('answered', 2)
  t.ok(slow.isLeftOut(start + 10_203))
  compare(start + 10_300)
  t.notOk(slow.isLeftOut(start + 10_301), 'it is well')
  for (let n = 0; n < 5; n++) slow.began(start + 10_302)
  t.notOk(slow.isLeftOut(start + 10_303), 'and asked like any other')
})

t.test('a request that says nothing of an instance is followed by another', async (t) => {
  const { start, slow, compare } = slowOne()
  slow.began(start + 5_001)
  slow.ended('given up')
  compare(start + 5_500)
  t.ok(slow.isLeftOut(start + 5_500))
  t.notOk(slow.isLeftOut(start + 6_002))
})

/** Two instances that are alike, and asked a hundred times a second for two minutes, compared each tenth of a second. */
function alike(shareOfSlow: number, seed: number): number {
  // Park and Miller's generator: the same draws for the same seed.
  let state = seed
  const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647
  const pair = ['a', 'b'].map((name) => new Instance({ origin: `http://${name}`, weight: 1, priority: 0 }))
  const start = performance.now()
  for (let n = 0; n < 12_000; n++) {
    const now = start + 10 * n
    const asked = pair.filter((instance) => !instance.isLeftOut(now))
    const instance = asked[Math.floor(random() * asked.length)]!
    instance.began(now)
    instance.ended('answered', random() < shareOfSlow ? 300 : 2)
    if (n % 10 === 0) leaveOutSlow(pair, now)
  }
  return pair.reduce((sum, { outliers }) => sum + outliers, 0)
}

t.test(
  'instances that are alike are hardly ever left out, though some of what they are asked takes long',
  async (t) => {
    for (const share of [0.02, 0.05, 0.1, 0.25]) t.equal(alike(share, 7), 0, `${100 * share} % take long`)
    for (const share of [0.4, 0.5, 0.6]) t.ok(alike(share, 7) <= 2, `${100 * share} % take long: ${alike(share, 7)}`)
  },
)
