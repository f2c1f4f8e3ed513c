import t from 'tap'
import { Balancer, NobodyToAsk } from '../../../../../src/platform/host/balancing/balancer.ts'
import { staticDiscovery } from '../../../../../src/platform/host/discovery/static.ts'
import { balanced } from '../../../../../src/platform/host/rpc/policies/balanced.ts'
import { NotSent, type Transport } from '../../../../../src/platform/host/rpc/remote-call.ts'
import { Overloaded, Unavailable } from '../../../../../src/platform/kit/errors.ts'
import { callOf } from './calls.ts'

const refused = () => new Unavailable('mill', { cause: new NotSent('refused') })

/** Calls to three instances, of which each does what the test says. */
function to(answers: Record<string, () => unknown>) {
  const origins = Object.keys(answers)
  const balancer = new Balancer(staticDiscovery(new Map([['mill', origins]])))
  const asked: string[] = []
  const transport: Transport = {
    async send({ origin }) {
      asked.push(origin)
      const answer = answers[origin]!()
      if (answer instanceof Error) throw answer
      return answer
    },
    close: async () => {},
  }
  return { dispatch: balanced({ transport, balancer }), balancer, asked }
}

t.test('an instance that cannot be reached is passed over at once, whatever the call does', async (t) => {
  let others = 0
  for (let n = 0; n < 50; n++) {
    const { dispatch, balancer, asked } = to({ 'http://a': refused, 'http://b': refused, 'http://c': () => 'ground' })
    t.equal(await dispatch(callOf('grind')), 'ground')
    t.equal(new Set(asked).size, asked.length, 'each is asked once')
    t.ok(balancer.instancesOf('mill').every(({ inFlight }) => inFlight === 0))
    others += asked.length - 1
  }
  t.ok(others > 20)
})

t.test('when none can be reached each has been asked once', async (t) => {
  const { dispatch, asked } = to({ 'http://a': refused, 'http://b': refused, 'http://c': refused })
  await t.rejects(dispatch(callOf('grind')), Unavailable)
  t.strictSame(asked.toSorted(), ['http://a', 'http://b', 'http://c'])
  const error = async () => dispatch(callOf('read')).catch((error) => error.constructor)
  while (asked.length < 15) t.equal(await error(), Unavailable)
  t.equal(await error(), NobodyToAsk, 'when all breakers are open')
  t.equal(asked.length, 15)
})

t.test('what may have reached an instance goes to no other one', async (t) => {
  const lost = () => new Unavailable('mill', { cause: new Error('The connection was cut.') })
  const { dispatch, asked } = to({ 'http://a': lost, 'http://b': lost, 'http://c': lost })
  await t.rejects(dispatch(callOf('grind')), Unavailable)
  t.equal(asked.length, 1)
})

t.test('an instance that has enough to do is not taken for one that is ill', async (t) => {
  const { dispatch, balancer, asked } = to({ 'http://a': () => new Overloaded('mill') })
  for (let n = 0; n < 20; n++) await t.rejects(dispatch(callOf('read')), Overloaded)
  t.equal(asked.length, 20)
  t.equal(balancer.instancesOf('mill')[0]!.breaker.state, 'closed')
})
