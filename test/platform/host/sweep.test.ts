import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import t, { type Test } from 'tap'
import { RequestContext } from '../../../src/platform/host/request-context.ts'
import { Sweep } from '../../../src/platform/host/sweep.ts'
import { until } from '../../support/until.ts'

/** A sweep whose turns are counted, and each of which lasts as long as the test lets it. */
function sweepOf(t: Test, run: () => Promise<void> | void, interval = 60_000) {
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  const seen = { turns: 0, atOnce: 0, most: 0 }
  const sweep = new Sweep({
    name: 'relay',
    interval,
    log,
    run: async () => {
      seen.turns++
      seen.most = Math.max(seen.most, ++seen.atOnce)
      try {
        await run()
      } finally {
        seen.atOnce--
      }
    },
  })
  t.teardown(() => sweep.stop(0))
  return { sweep, seen, lines }
}

t.test('it does nothing before it is started, then runs at once and again and again', async (t) => {
  const { sweep, seen } = sweepOf(t, () => {}, 20)
  sweep.wake()
  await sleep(50)
  t.equal(seen.turns, 0)
  sweep.start()
  await sleep(0)
  t.equal(seen.turns, 1)
  await sleep(110)
  t.ok(seen.turns >= 3 && seen.turns <= 9, `${seen.turns}`)
})

t.test('being started twice is being started once', async (t) => {
  const { sweep, seen } = sweepOf(t, () => {})
  sweep.start()
  sweep.start()
  await sleep(10)
  t.equal(seen.turns, 1)
})

t.test('it runs when woken, without waiting for the interval', async (t) => {
  const { sweep, seen } = sweepOf(t, () => {})
  sweep.start()
  await sleep(5)
  sweep.wake()
  await sleep(5)
  t.equal(seen.turns, 2)
})

t.test('it never runs twice at a time; however often it is woken meanwhile, it runs once more', async (t) => {
  const { sweep, seen } = sweepOf(t, () => sleep(20))
  sweep.start()
  for (let n = 0; n < 100; n++) {
    sweep.wake()
    await sleep(0)
  }
  await sweep.stop()
  t.equal(seen.most, 1)
  const turns = seen.turns
  t.ok(turns >= 2, `${turns}`)

  const other = sweepOf(t, () => sleep(20))
  other.sweep.start()
  await sleep(5)
  for (let n = 0; n < 100; n++) other.sweep.wake()
  await sleep(80)
  t.equal(other.seen.turns, 2)
})

t.test('a failure is logged and the next turn is tried', async (t) => {
  let failing = true
  const { sweep, seen, lines } = sweepOf(t, () => {
    if (failing) throw new Error('no connection')
  })
  sweep.start()
  await sleep(5)
  t.equal(lines.length, 1)
  t.match(JSON.parse(lines[0]!), { task: 'relay', err: { message: 'no connection' } })
  failing = false
  sweep.wake()
  await sleep(5)
  t.equal(seen.turns, 2)
  t.equal(lines.length, 1)
})

t.test('a task that always fails is not tried in a hurry', async (t) => {
  const { sweep, seen } = sweepOf(t, () => Promise.reject(new Error('again')), 20)
  sweep.start()
  await sleep(70)
  t.ok(seen.turns >= 2 && seen.turns <= 5, `${seen.turns}`)
})

t.test('stopping waits for the turn that is under way, and no other one comes', async (t) => {
  let done = false
  const { sweep, seen } = sweepOf(
    t,
    async () => {
      await sleep(50)
      done = true
    },
    10,
  )
  sweep.start()
  await sleep(5)
  sweep.wake()
  await sweep.stop()
  t.ok(done)
  sweep.wake()
  sweep.start()
  await sleep(40)
  t.equal(seen.turns, 1)
})

t.test('stopping does not wait longer than it is told to', async (t) => {
  const { sweep } = sweepOf(t, () => new Promise(() => {}))
  sweep.start()
  const started = performance.now()
  await sweep.stop(50)
  const took = performance.now() - started
  t.ok(took >= 45 && took < 500, `${took} ms`)
})

t.test('what fails because it is being stopped is not worth a line', async (t) => {
  const { sweep, lines } = sweepOf(t, async () => {
    await sleep(20)
    throw new Error('the connection was closed')
  })
  sweep.start()
  await sleep(5)
  await sweep.stop()
  t.strictSame(lines, [])
})

t.test('stopping one that was never started, or twice, is no trouble', async (t) => {
  const { sweep, seen } = sweepOf(t, () => {})
  await sweep.stop()
  await sweep.stop()
  sweep.start()
  await sleep(5)
  t.equal(seen.turns, 0)
})

t.test('its timer keeps no process alive', async (t) => {
  const count = () => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length
  const before = count()
  const { sweep } = sweepOf(t, () => {}, 20)
  sweep.start()
  t.equal(count(), before)
})

t.test('a turn does not belong to the request that has woken it', async (t) => {
  const contexts: unknown[] = []
  const { sweep } = sweepOf(t, () => void contexts.push(RequestContext.current()))
  sweep.start()
  await until('the first turn', () => contexts.length === 1)
  new RequestContext().run(() => sweep.wake())
  await until('the second turn', () => contexts.length === 2)
  t.strictSame(contexts, [undefined, undefined])
})
