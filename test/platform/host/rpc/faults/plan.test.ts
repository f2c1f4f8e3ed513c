import t from 'tap'
import { FaultPlan } from '../../../../../src/platform/host/rpc/faults/plan.ts'
import { readRules } from '../../../../../src/platform/host/rpc/faults/rules.ts'

const planOf = (faults: string, seed = 1) => new FaultPlan({ rules: readRules(faults), seed })

/** For the first calls of a procedure, what happens to them. */
const drawn = (plan: FaultPlan, procedure = 'getUser', calls = 1_000) =>
  Array.from({ length: calls }, () => {
    const faults = plan.next('users', procedure)
    return faults ? `${faults.delay} ${faults.has('drop')}` : 'nothing'
  })

t.test('the same seed draws the same again, another one does not', async (t) => {
  const rules = 'users:delay=5@0.3, *:drop@0.2'
  t.strictSame(drawn(planOf(rules, 7)), drawn(planOf(rules, 7)))
  t.notSame(drawn(planOf(rules, 7)), drawn(planOf(rules, 8)))
})

t.test('what happens to one procedure does not depend on calls of others', async (t) => {
  const [alone, among] = [planOf('*:drop@0.5'), planOf('*:drop@0.5')]
  const expected = drawn(alone)
  const found = expected.map(() => {
    among.next('posts', 'getPost')
    among.next('users', 'listUsers')
    return drawn(among, 'getUser', 1)[0]
  })
  t.strictSame(found, expected)
})

t.test('a fault is as likely as its rule says, and rules are drawn one by one', async (t) => {
  const faults = drawn(planOf('*:delay=1@0.25, *:drop@0.5'), 'getUser', 10_000)
  const share = (what: RegExp) => faults.filter((text) => what.test(text)).length / faults.length
  t.ok(Math.abs(share(/^1 /) - 0.25) < 0.03, `${share(/^1 /)} are delayed`)
  t.ok(Math.abs(share(/true/) - 0.5) < 0.03, `${share(/true/)} are dropped`)
  t.ok(Math.abs(share(/^1 true/) - 0.125) < 0.03, `${share(/^1 true/)} are both`)
})

t.test('a rule is for everything, for a module or for a procedure, and never for what the platform asks', async (t) => {
  const hit = (target: string) =>
    [
      ['users', 'getUser'],
      ['users', 'listUsers'],
      ['posts', 'getPost'],
      ['users', '$health'],
    ].filter(([module, procedure]) => planOf(`${target}:drop`).next(module!, procedure!)).length
  t.strictSame(['*', 'users', 'users.getUser', 'posts.getPost'].map(hit), [3, 2, 1, 1])
})

t.test('delays of several rules add up; 1 is always, 0 is never', async (t) => {
  t.equal(planOf('*:delay=20, users:delay=3@1').next('users', 'getUser')?.delay, 23)
  t.strictSame(new Set(drawn(planOf('*:drop@0'))), new Set(['nothing']))
  t.strictSame(new Set(drawn(planOf('*:drop@1'))), new Set(['0 true']))
})
