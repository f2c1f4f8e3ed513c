// All instances of a module are gone, and come back.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking, percentile, type Seen } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(240_000)

t.test('all are gone: callers fail at once, and go on as soon as one is back', async (t) => {
  const { mills, http, grpc, get } = await scene(t)
  const loads = {
    'calls by http': keepAsking(() => http.grind({}), { callers: 4, pause: 10 }),
    'calls by grpc': keepAsking(() => grpc.grind({}), { callers: 4, pause: 10 }),
    requests: keepAsking(get, { callers: 4, pause: 10 }),
  }
  const all = Object.values(loads)
  await until('all goes well', () => all.every(({ seen }) => seen.length > 100))
  await Promise.all(mills.map((mill) => mill.end('SIGKILL')))
  const gone = performance.now()
  await until('the breakers are open', () => performance.now() > gone + 500)
  // The machine may stop for a moment, so one of three times two seconds counts.
  let open = performance.now()
  // A request is answered by the whole of an edge, which shares this process with its client: one of a hundred may be late.
  const slowest = (what: string, seen: readonly Seen[]) => percentile(seen, what === 'requests' ? 0.99 : 1)
  const worst = () =>
    Math.max(...Object.entries(loads).map(([what, load]) => slowest(what, load.between(open, open + 2_000))))
  for (let n = 0; n < 3; n++) {
    open = performance.now()
    await until('it has failed for a while', () => performance.now() > open + 2_100)
    if (worst() <= 50) break
  }

  await mills[0]!.start()
  const back = performance.now()
  await until('time has passed', () => performance.now() > back + 3_000)
  await Promise.all(all.map((load) => load.end()))
  for (const [what, load] of Object.entries(loads)) {
    const failed = load.between(open, open + 2_000)
    const latest = slowest(what, failed)
    const last = load.seen.findLast(({ failure }) => failure)!
    t.comment(
      `${failed.length} ${what} failed, each within ${latest.toFixed(1)} ms; the last ${(last.at - back).toFixed(0)} ms after the return`,
    )
    t.ok(failed.length > 100 && failed.every(({ failure }) => failure), `${what} fail`)
    t.ok(latest <= 50, `${what} fail within 50 ms`)
    const late = load.between(back + 2_000, back + 3_000)
    t.ok(late.length > 20 && late.every(({ failure }) => !failure), `${what} are answered 2 s after the return`)
  }
})
