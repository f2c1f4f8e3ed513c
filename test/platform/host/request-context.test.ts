import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import {
  DEFAULT_TIMEOUT,
  RequestContext,
  requestIdOf,
  traceparentOf,
} from '../../../src/platform/host/request-context.ts'

// Deadlines keep no process alive; a listening server does in a real one.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

const left = ({ deadline }: { deadline: number }) => deadline - performance.now()

/** Runs something and counts the timers of Node that it starts, and those of them that are gone a moment later. */
async function timersOf(work: () => void): Promise<{ started: number; freed: number }> {
  const started = new Set<number>()
  let freed = 0
  const hook = createHook({
    init: (id, type) => type === 'Timeout' && started.add(id),
    destroy: (id) => started.has(id) && freed++,
  }).enable()
  work()
  const count = started.size
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  hook.disable()
  return { started: count, freed }
}

const waiter = () => {
  const seen = { expired: 0, expire: () => void seen.expired++ }
  return seen
}

t.test('a request that nobody waits in starts no timer', async (t) => {
  const counts = await timersOf(() => {
    const context = RequestContext.of({ id: 'r', headers: {} }, '50')
    context.run(() => RequestContext.current()?.traceparent)
    context.isOver()
    context.end()
  })
  t.strictSame(counts, { started: 0, freed: 0 })
})

t.test('all who wait share one timer, and the end of the request frees it', async (t) => {
  const counts = await timersOf(() => {
    const context = new RequestContext()
    for (let n = 0; n < 10; n++) context.await(waiter())
    t.notOk(context.signal.aborted)
    context.end()
    context.await(waiter())
    t.ok(context.signal.aborted)
  })
  t.strictSame(counts, { started: 1, freed: 1 })
})

t.test('a part of a request that ends frees its timer, and the request forgets it', async (t) => {
  const counts = await timersOf(() => {
    const context = new RequestContext()
    const part = context.within(100)
    part.await(waiter())
    part.end()
    context.forget(part)
    context.end()
  })
  t.strictSame(counts, { started: 2, freed: 2 })
})

t.test('the timer of a deadline keeps no process alive', async (t) => {
  clearInterval(alive)
  const before = process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
  const context = new RequestContext()
  context.await(waiter())
  t.equal(process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length, before)
  context.end()
  alive.refresh()
})

t.test('at the deadline every waiter is told once, and the signal is aborted', async (t) => {
  const context = new RequestContext({ timeout: 30 })
  const waiters = [waiter(), waiter()]
  for (const one of waiters) context.await(one)
  const { signal } = context
  t.notOk(signal.aborted)
  t.notOk(context.isOver())
  await sleep(60)
  t.ok(signal.aborted)
  t.ok(context.isOver())
  context.end()
  t.strictSame(
    waiters.map(({ expired }) => expired),
    [1, 1],
  )
})

t.test('who has been forgotten is not told', async (t) => {
  const context = new RequestContext()
  const [gone, there] = [waiter(), waiter()]
  context.await(gone)
  context.await(there)
  context.forget(gone)
  context.end()
  t.strictSame([gone.expired, there.expired], [0, 1])
})

t.test('waiters may forget themselves and each other while they are told', async (t) => {
  const context = new RequestContext()
  const second = waiter()
  const first = {
    expire() {
      context.forget(first)
      context.forget(second)
    },
  }
  context.await(second)
  context.await(first)
  context.end()
  t.equal(second.expired, 0)
})

t.test('who comes after the end is told at once', async (t) => {
  const context = new RequestContext()
  context.end()
  const late = waiter()
  context.await(late)
  t.equal(late.expired, 1)
  t.ok(context.isOver())
  t.ok(context.signal.aborted)
  t.ok(context.within(1_000).isOver())
})

t.test('a part has at most the time of the whole, ends with it, and takes the rest along', async (t) => {
  const context = new RequestContext({ requestId: 'r-1', timeout: 1_000 })
  context.identity = {
    userId: '01890000-0000-7000-8000-000000000001',
    roles: ['admin'],
    sessionId: '01890000-0000-7000-8000-00000000005e',
  }
  const [short, long] = [context.within(50), context.within(60_000)]
  t.ok(left(short) <= 50 && left(short) > 30)
  t.ok(left(long) <= 1_000)
  t.equal(long.requestId, 'r-1')
  t.equal(long.traceparent, context.traceparent)
  t.strictSame(long.identity, context.identity)
  const { signal } = long
  context.end()
  t.ok(signal.aborted)
  t.ok(short.isOver())
})

t.test('a part that ends leaves the whole as it was', async (t) => {
  const context = new RequestContext()
  const part = context.within(10)
  part.await(waiter())
  await sleep(40)
  t.ok(part.isOver())
  t.notOk(context.isOver())
  t.notOk(context.signal.aborted)
  context.end()
})

t.test('a deadline that is further off than timers can wait is no early one', async (t) => {
  for (const timeout of [2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY]) {
    const context = new RequestContext({ timeout })
    const one = waiter()
    context.await(one)
    await sleep(20)
    t.equal(one.expired, 0, `${timeout}`)
    context.end()
  }
})

t.test('another process may ask for up to a minute; what is no time means the usual one', async (t) => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const about = (milliseconds: number, header: string | string[] | undefined) => {
    const limited = RequestContext.of({ id: 'r-2', headers: { traceparent } }, header)
    t.ok(left(limited) <= milliseconds && left(limited) > milliseconds - 100, `${header}: ${left(limited)}`)
    t.equal(limited.requestId, 'r-2')
    t.equal(limited.traceparent, traceparent)
    t.equal(limited.identity, null)
  }
  about(200, '200')
  about(60_000, '60001')
  about(60_000, '1e9')
  about(60_000, 'Infinity')
  for (const none of [undefined, '', ' ', '0', '-1', 'soon', 'NaN', '1,5', ['1', '2'], []]) about(DEFAULT_TIMEOUT, none)
})

t.test('the context follows what a request does, and no other request sees it', async (t) => {
  t.equal(RequestContext.current(), undefined)
  const seen = await Promise.all(
    ['a', 'b', 'c'].map((requestId) =>
      new RequestContext({ requestId }).run(async () => {
        await sleep(Math.random() * 10)
        await new Promise((resolve) => setImmediate(resolve))
        return RequestContext.current()?.requestId
      }),
    ),
  )
  t.strictSame(seen, ['a', 'b', 'c'])
  t.equal(RequestContext.current(), undefined)
})

t.test('a request has an id and a trace, made if none came, and they stay the same', async (t) => {
  const [one, other] = [new RequestContext(), new RequestContext()]
  t.not(one.requestId, other.requestId)
  t.not(one.traceparent, other.traceparent)
  t.equal(one.traceparent, one.traceparent)
  t.equal(one.requestId, requestIdOf(one.requestId))
  t.match(one.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})

const GOOD = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

t.test('a trace context that is well formed is kept; anything else is replaced by a new one', async (t) => {
  t.equal(traceparentOf(GOOD), GOOD)
  t.equal(traceparentOf(GOOD.replace(/01$/, '00')), GOOD.replace(/01$/, '00'))
  const bad = [
    undefined,
    '',
    `${GOOD}-more`,
    ` ${GOOD}`,
    `${GOOD}\n`,
    GOOD.toUpperCase(),
    GOOD.replace('00-', 'ff-'),
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`,
    [GOOD, GOOD] as unknown as string,
  ]
  for (const header of bad) {
    t.not(traceparentOf(header), header)
    t.equal(traceparentOf(traceparentOf(header)).length, GOOD.length)
  }
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^00-[0-9a-f]{30,34}-[0-9a-f]{14,18}-../)),
      (header) => {
        const trace = traceparentOf(header)
        assert.match(trace, /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
        assert.equal(traceparentOf(trace), trace)
      },
    ),
  )
})

t.test('a request id is 1 to 128 letters, digits and ._-, and nothing else', async (t) => {
  for (const good of ['a', 'A-1_b.c', 'x'.repeat(128)]) t.equal(requestIdOf(good), good)
  for (const bad of ['', 'x'.repeat(129), 'a b', 'a\n', 'é', 'a"b', '<a>', '%0a', ['a', 'b'], undefined])
    t.equal(requestIdOf(bad), undefined)
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (header) => {
      const id = requestIdOf(header)
      assert.ok(id === undefined || (id === header && /^[A-Za-z0-9._-]{1,128}$/.test(id)))
    }),
  )
})
