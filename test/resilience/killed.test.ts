// Of three instances of a module one dies by kill -9 while all of them are asked.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking, median, percentile, tails } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(240_000)

t.test('one instance is killed: no query fails, and soon all is as fast as before', async (t) => {
  const { mills, http, grpc, get } = await scene(t)
  const loads = {
    'calls by http': keepAsking(() => http.grind({}), { callers: 8, pause: 10 }),
    'calls by grpc': keepAsking(() => grpc.grind({}), { callers: 8, pause: 10 }),
    requests: keepAsking(get, { callers: 4, pause: 10 }),
  }
  const began = performance.now()
  await until('all are warm', () => performance.now() > began + 1_500)
  const killed = performance.now()
  await mills[0]!.end('SIGKILL')
  await until('the rest has gone on', () => performance.now() > killed + 4_000)
  await Promise.all(Object.values(loads).map((load) => load.end()))

  for (const [what, load] of Object.entries(loads)) {
    t.strictSame(load.failures, [], `none of ${load.seen.length} ${what} has failed`)
    const before = median(tails(load, killed - 1_000, killed))
    const after = tails(load, killed, killed + 4_000)
    const all = after.map((ms) => ms.toFixed(1)).join(', ')
    const worst = percentile(load.between(killed - 50, killed + 2_000), 1).toFixed(0)
    t.comment(`${what}: p99 ${before.toFixed(1)} ms, after the kill ${all} in each 250 ms; the worst ${worst} ms`)
    t.ok(median(after.slice(8)) <= 2 * before, `${what} are as fast as before within 2 s`)
  }

  // Nobody knows of a call that is lost whether it was done, so each is repeated; and in the first moment of a second little
  // else was asked.
  await mills[0]!.start()
  await Promise.all(mills.map((mill) => mill.become(300)))
  const load = keepAsking(() => http.grind({}), { callers: 60, pause: 50 })
  const counts = () => Promise.all(mills.map((mill) => mill.count()))
  const first = (await counts())[0]!
  await until('each waits for many', async () => (await counts())[0]! > first + 60)
  await until('a second begins', () => performance.now() % 1_000 < 30)
  const again = performance.now()
  await mills[0]!.end('SIGKILL')
  await until('those that were lost have been repeated', () => performance.now() > again + 1_000)
  await load.end()
  const underWay = load.between(again - 300, again)
  const late = underWay.filter(({ milliseconds }) => milliseconds > 400)
  t.comment(
    `of calls that take 300 ms, ${underWay.length} were under way; ${late.length} of them took more than 400 ms`,
  )
  t.ok(late.length > 5)
  t.strictSame(load.failures, [], 'no call that takes long has failed')
})
