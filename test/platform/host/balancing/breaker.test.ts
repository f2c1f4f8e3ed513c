import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Breaker } from '../../../../src/platform/host/balancing/breaker.ts'

const fail = (breaker: Breaker, times: number) => {
  for (let n = 0; n < times; n++) {
    breaker.began()
    breaker.failed()
  }
}

t.test('five failures in a row open it, four do not', async (t) => {
  const breaker = new Breaker()
  fail(breaker, 4)
  breaker.succeeded()
  fail(breaker, 4)
  t.equal(breaker.state, 'closed')
  t.ok(breaker.mayAsk())
  fail(breaker, 1)
  t.equal(breaker.state, 'open')
  t.notOk(breaker.mayAsk())
})

t.test('of what was under way together and fails at once, one is of those in a row', async (t) => {
  const breaker = new Breaker()
  const began = performance.now()
  fail(breaker, 3)
  for (let n = 0; n < 16; n++) breaker.failed(began + 10, began)
  t.equal(breaker.state, 'closed')
  breaker.failed(began + 20, began)
  t.equal(breaker.state, 'open')
})

t.test('failures of more than half of what was asked open it, also when none are in a row', async (t) => {
  const breaker = new Breaker()
  for (let n = 0; n < 60; n++) {
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    if (breaker.state !== 'closed') break
  }
  t.equal(breaker.state, 'open')
  const half = new Breaker()
  for (let n = 0; n < 60; n++) {
    half.succeeded()
    half.failed()
  }
  t.equal(half.state, 'closed')
})

t.test('after half a second one request tries, and nobody else until it has had its time', async (t) => {
  const breaker = new Breaker()
  fail(breaker, 5)
  await sleep(520)
  t.ok(breaker.mayAsk())
  breaker.began()
  t.equal(breaker.state, 'half-open')
  t.notOk(breaker.mayAsk())
  breaker.failed()
  t.equal(breaker.state, 'open')
  t.notOk(breaker.mayAsk())
})

t.test('a try that succeeds closes it, and one that nobody hears of is followed by another', async (t) => {
  const breaker = new Breaker()
  fail(breaker, 5)
  await sleep(520)
  breaker.began()
  await sleep(520)
  t.ok(breaker.mayAsk(), 'the first one was given up')
  breaker.began()
  breaker.succeeded()
  t.equal(breaker.state, 'closed')
  fail(breaker, 4)
  t.equal(breaker.state, 'closed', 'and what was before does not count any more')
})

t.test('what began before it opened says nothing of now, be it good or bad', async (t) => {
  const breaker = new Breaker()
  const before = performance.now()
  fail(breaker, 5)
  const opened = performance.now()
  breaker.failed(opened + 450, before)
  t.ok(breaker.mayAsk(opened + 510), 'a late failure does not put the try off')
  breaker.began(opened + 510)
  breaker.failed(opened + 520, before)
  breaker.succeeded(before)
  t.equal(breaker.state, 'half-open')
  breaker.succeeded(opened + 510)
  t.equal(breaker.state, 'closed')
})
