import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import { type Limits, limited, limitsWithin } from '../../../../../src/platform/host/rpc/policies/limit.ts'
import type { RemoteCall } from '../../../../../src/platform/host/rpc/remote-call.ts'
import { defineContract } from '../../../../../src/platform/kit/contract.ts'
import { DeadlineExceeded, Overloaded } from '../../../../../src/platform/kit/errors.ts'

/** Calls through the policy to modules that answer when the test says so. */
function caller(options?: Limits) {
  const sent: { module: string; input: unknown; answer: PromiseWithResolvers<unknown> }[] = []
  const dispatch = limited(options)(({ contract, body: input }) => {
    const answer = Promise.withResolvers<unknown>()
    sent.push({ module: contract.name, input, answer })
    return answer.promise
  })
  const call = (input: unknown, of: { module?: string; name?: string; context?: RequestContext } = {}) => {
    const contract = defineContract(of.module ?? 'users', {})
    const outcome = dispatch({
      contract,
      name: of.name ?? 'read',
      body: input,
      context: of.context ?? new RequestContext(),
    } as unknown as RemoteCall)
    outcome.catch(() => {})
    return outcome
  }
  return { call, sent, inputs: () => sent.map(({ input }) => input) }
}

t.test('so many calls are under way, so many wait for their turn, and the rest fail at once', async (t) => {
  const { call, sent, inputs } = caller({ atOnce: 2, waiting: 2 })
  const outcomes = [1, 2, 3, 4].map((n) => call(n))
  const error = await call(5).catch((error) => error)
  t.type(error, Overloaded)
  t.match(error, { module: 'users', code: 'Overloaded', status: 503, retryAfter: 1 })
  t.strictSame(inputs(), [1, 2])
  sent[1]!.answer.resolve('the second')
  t.equal(await outcomes[1], 'the second')
  t.strictSame(inputs(), [1, 2, 3], 'who has waited longest comes first')
  sent[0]!.answer.reject(new Error('the first'))
  await t.rejects(outcomes[0]!, { message: 'the first' })
  t.strictSame(inputs(), [1, 2, 3, 4], 'a failure makes room, too')
  for (const { answer } of sent.slice(2)) answer.resolve('another')
  t.strictSame(await Promise.all(outcomes.slice(2)), ['another', 'another'])
  const more = [call(6), call(7)]
  t.equal(sent.length, 6, 'and all is as it was')
  for (const { answer } of sent.slice(4)) answer.resolve('late')
  await Promise.all(more)
})

t.test('who waits in vain makes room, and is not sent', async (t) => {
  const { call, sent, inputs } = caller({ atOnce: 1, waiting: 1 })
  const first = call(1)
  const context = new RequestContext()
  const second = call(2, { context })
  await t.rejects(call(3), { code: 'Overloaded' })
  context.end()
  t.type(await second.catch((error) => error), DeadlineExceeded)
  const fourth = call(4)
  sent[0]!.answer.resolve('now')
  await first
  await turn()
  t.strictSame(inputs(), [1, 4])
  sent[1]!.answer.resolve('then')
  t.equal(await fourth, 'then')
})

t.test('a module that hangs keeps nobody from another', async (t) => {
  const { call, sent } = caller(limitsWithin(1_000))
  const hanging = Array.from({ length: 2_000 }, (_, n) => call(n))
  t.equal(sent.length, 250)
  const refused = (await Promise.allSettled(hanging.slice(500))).filter(({ status }) => status === 'rejected')
  t.equal(refused.length, 1_500)
  const posts = call('posts', { module: 'posts' })
  t.match(sent.at(-1), { module: 'posts', input: 'posts' })
  sent.at(-1)!.answer.resolve('at once')
  t.equal(await posts, 'at once')
})

t.test('whether a module is well is asked also when it is busy', async (t) => {
  const { call, sent } = caller({ atOnce: 1, waiting: 0 })
  void call(1)
  const well = call(2, { name: '$health' })
  sent[1]!.answer.resolve('well')
  t.equal(await well, 'well')
  await t.rejects(call(3), { code: 'Overloaded' })
})
