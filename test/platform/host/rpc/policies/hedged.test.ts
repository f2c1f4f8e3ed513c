import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import { hedged } from '../../../../../src/platform/host/rpc/policies/hedged.ts'
import { RetryBudgets } from '../../../../../src/platform/host/rpc/policies/retry-budget.ts'
import type { RemoteCall } from '../../../../../src/platform/host/rpc/remote-call.ts'
import { Unavailable } from '../../../../../src/platform/kit/errors.ts'
import { callOf, farSide } from './calls.ts'

const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))
const after = (ms: number, result: unknown) => (call: RemoteCall) =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(result), ms)
    call.context.await({
      expire() {
        clearTimeout(timer)
        resolve(new Unavailable('mill'))
      },
    })
  })

t.test('a second instance is asked after the time of the contract, and the first answer counts', async (t) => {
  const far = farSide(after(2_000, 'slow'), after(10, 'fast'))
  const began = performance.now()
  t.equal(await hedged(new RetryBudgets())(far.dispatch)(callOf('hasty')), 'fast')
  t.equal(far.calls.length, 2)
  t.ok(far.calls[1]!.at - began >= 25)
  t.ok(far.calls[0]!.call.context.signal.aborted, 'the slow one is given up')
})

t.test('who answers in time is the only one that is asked', async (t) => {
  const far = farSide(after(5, 'fast'))
  t.equal(await hedged(new RetryBudgets())(far.dispatch)(callOf('hasty')), 'fast')
  await sleep(60)
  t.equal(far.calls.length, 1)
})

t.test('a fault of one counts only if the other fails as well', async (t) => {
  const first = new Unavailable('mill')
  const far = farSide(
    async () => {
      await sleep(60)
      return first
    },
    after(100, 'second'),
  )
  t.equal(await hedged(new RetryBudgets())(far.dispatch)(callOf('hasty')), 'second')
  const early = new Unavailable('mill')
  const once = farSide(early)
  await t.rejects(hedged(new RetryBudgets())(once.dispatch)(callOf('hasty')), early)
  t.equal(once.calls.length, 1, 'a fault that comes at once is for the policy around this one')
})

t.test('other queries, commands, and what the budget does not allow are asked once', async (t) => {
  const far = farSide(after(60, 'slow'))
  const spent = new RetryBudgets()
  for (const name of ['read', 'grind'] as const) await hedged(new RetryBudgets())(far.dispatch)(callOf(name))
  t.equal(far.calls.length, 2)
  const until = performance.now() + 80
  const spend = setInterval(() => {
    while (spent.of('mill').take());
    if (performance.now() > until) clearInterval(spend)
  }, 1)
  t.equal(await hedged(spent)(far.dispatch)(callOf('hasty')), 'slow')
  clearInterval(spend)
  t.equal(far.calls.length, 3)
})

t.test('when the caller goes away both are given up', async (t) => {
  const context = new RequestContext({ timeout: 30_000 })
  const far = farSide(after(5_000, 'slow'))
  const call = hedged(new RetryBudgets())(far.dispatch)(callOf('hasty', { context }))
  setTimeout(() => context.end(), 80)
  await t.rejects(call, Unavailable)
  t.equal(far.calls.length, 2)
  for (const { call } of far.calls) t.ok(call.context.signal.aborted)
})
