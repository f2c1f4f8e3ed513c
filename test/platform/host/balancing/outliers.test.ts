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
