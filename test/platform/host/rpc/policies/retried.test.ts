import t from 'tap'
import { NobodyToAsk } from '../../../../../src/platform/host/balancing/balancer.ts'
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import { retried } from '../../../../../src/platform/host/rpc/policies/retried.ts'
import { RetryBudgets } from '../../../../../src/platform/host/rpc/policies/retry-budget.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  Overloaded,
  Unavailable,
} from '../../../../../src/platform/kit/errors.ts'
import { callOf, farSide } from './calls.ts'

const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))
const away = (retryAfter?: number) => new Unavailable('mill', { retryAfter })
const dispatched = (far: ReturnType<typeof farSide>, budgets = new RetryBudgets()) => retried(budgets)(far.dispatch)

t.test('a query is sent again when the module could not be reached, twice at most', async (t) => {
  const far = farSide(away(), away(), 'flour')
  t.equal(await dispatched(far)(callOf('read')), 'flour')
  t.equal(far.calls.length, 3)
  const last = away()
  const worse = farSide(away(), away(), last)
  await t.rejects(dispatched(worse)(callOf('read')), last)
  t.equal(worse.calls.length, 3)
})

t.test('a command is sent again only if it has an idempotency key', async (t) => {
  const far = farSide(away(), 'ground')
  await t.rejects(dispatched(far)(callOf('grind')), Unavailable)
  t.equal(far.calls.length, 1)
  const again = farSide(away(), 'ground')
  t.equal(await dispatched(again)(callOf('grind', { idempotencyKey: 'k' })), 'ground')
  t.equal(again.calls.length, 2)
})

t.test('what an answer says is final, and so is a deadline, and that there is nobody to ask', async (t) => {
  const finals = [
    new CallFailed('mill', 'read'),
    new DeadlineExceeded('mill'),
    new BadInput('mill', []),
    new NobodyToAsk('mill'),
    new Overloaded('mill'),
    new Unavailable('brook'),
    new TypeError('?'),
  ]
  for (const error of finals) {
    const far = farSide(error)
    await t.rejects(dispatched(far)(callOf('read')), error)
    t.equal(far.calls.length, 1, `${error.name} of ${'module' in error ? error.module : 'nobody'}`)
  }
  const later = farSide(away(), new CallFailed('mill', 'read'))
  await t.rejects(dispatched(later)(callOf('read')), CallFailed)
  t.equal(later.calls.length, 2)
})

t.test('nothing is sent again before the far side wants it', async (t) => {
  const far = farSide(away(0.2), 'flour')
  await dispatched(far)(callOf('read'))
  t.ok(far.calls[1]!.at - far.calls[0]!.at >= 195)
})

t.test('nothing is sent again after the deadline', async (t) => {
  const far = farSide(away(1), 'flour')
  const started = performance.now()
  await t.rejects(dispatched(far)(callOf('read', { timeout: 300 })), Unavailable)
  t.ok(performance.now() - started < 250, 'and nobody waits until then')
  t.equal(far.calls.length, 1)
})

t.test('who goes away while a pause lasts is not kept waiting', async (t) => {
  const context = new RequestContext({ timeout: 30_000 })
  const far = farSide(away(20), 'flour')
  const call = dispatched(far)(callOf('read', { context }))
  setTimeout(() => context.end(), 30)
  await t.rejects(call, Unavailable)
  t.equal(far.calls.length, 1)
})

t.test('a module that fails at everything gets at most a fifth more than it was asked for', async (t) => {
  const far = farSide(away())
  const dispatch = dispatched(far)
  const seconds = new Map<number, number>()
  for (let round = 0; round < 4; round++)
    await Promise.allSettled(
      Array.from({ length: 500 }, () => {
        const second = Math.floor(performance.now() / 1000)
        seconds.set(second, (seconds.get(second) ?? 0) + 1)
        return dispatch(callOf('read'))
      }),
    )
  t.ok(far.calls.length > 2_000, 'some are repeated')
  // A second in which only the repetitions of the one before fall has three of its own.
  t.ok(far.calls.length <= 2_000 * 1.2 + 3 * (seconds.size + 1), `${far.calls.length} for 2,000`)
})
