import fc from 'fast-check'
import t from 'tap'
import { RetryBudget, RetryBudgets } from '../../../../../src/platform/host/rpc/policies/retry-budget.ts'

const taken = (budget: RetryBudget, now: number) => {
  let count = 0
  while (budget.take(now)) count++
  return count
}

t.test('three a second may be repeated where little is asked', async (t) => {
  const budget = new RetryBudget()
  t.equal(taken(budget, 1_000), 3)
  t.equal(taken(budget, 1_999), 0)
  t.equal(taken(budget, 2_000), 3)
})

t.test('else a fifth of what was asked', async (t) => {
  const budget = new RetryBudget()
  for (let n = 0; n < 100; n++) budget.asked(5_000)
  t.equal(taken(budget, 5_500), 20)
  for (let n = 0; n < 50; n++) budget.asked(5_600)
  t.equal(taken(budget, 5_700), 10)
})

t.test('what one second has left over is good for the next, and for no other', async (t) => {
  const ask = (budget: RetryBudget, times: number, now: number) => {
    for (let n = 0; n < times; n++) budget.asked(now)
  }
  const budget = new RetryBudget()
  ask(budget, 100, 5_000)
  t.equal(budget.take(5_500), true)
  ask(budget, 50, 6_000)
  t.equal(taken(budget, 6_001), 19 + 10)
  t.equal(taken(budget, 7_001), 3, 'nothing is left')
  ask(budget, 100, 8_000)
  t.equal(taken(budget, 10_000), 3, 'the second between has nothing')
})

t.test('however calls and faults come, a module never gets more than a fifth more, or three a second', async (t) => {
  const step = fc.record({ wait: fc.nat({ max: 400 }), asked: fc.nat({ max: 40 }), wanted: fc.nat({ max: 60 }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const budget = new RetryBudget()
      const seconds = new Map<number, { asked: number; repeated: number }>()
      let now = 0
      for (const { wait, asked, wanted } of steps) {
        now += wait
        const second = Math.floor(now / 1000)
        const counts = seconds.get(second) ?? { asked: 0, repeated: 0 }
        seconds.set(second, counts)
        for (let n = 0; n < asked; n++) budget.asked(now)
        counts.asked += asked
        for (let n = 0; n < wanted; n++) if (budget.take(now)) counts.repeated++
      }
      const all = [...seconds.values()]
      const sum = (counts: number[]) => counts.reduce((one, other) => one + other, 0)
      const [asked, repeated] = [sum(all.map(({ asked }) => asked)), sum(all.map(({ repeated }) => repeated))]
      const recent = (second: number) => (seconds.get(second)?.asked ?? 0) + (seconds.get(second - 1)?.asked ?? 0)
      return (
        repeated <= asked * 0.2 + 3 * all.length &&
        [...seconds].every(([second, { repeated }]) => repeated <= Math.max(3, recent(second) * 0.2 + 1e-9))
      )
    }),
  )
  t.pass()
})

t.test('each module has a budget of its own, and keeps it', async (t) => {
  const budgets = new RetryBudgets()
  t.equal(budgets.of('users'), budgets.of('users'))
  t.not(budgets.of('users'), budgets.of('posts'))
})
