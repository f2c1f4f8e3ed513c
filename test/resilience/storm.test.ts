// All that a module is asked for fails, and its callers do not make it worse.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking, percentile } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(240_000)

/** How many processes ask; each may repeat so many a second, where that is more than a fifth. */
const ASKING = 2
const LEAST = 3

t.test('a module that fails at everything gets at most a fifth more than it was asked for', async (t) => {
  const { mills, http, grpc, get, metrics } = await scene(t)
  const loads = [
    keepAsking(() => http.grind({}), { callers: 12, pause: 5 }),
    keepAsking(() => grpc.grind({}), { callers: 12, pause: 5 }),
    keepAsking(get, { callers: 8, pause: 5 }),
  ]
  const sum = (counts: number[]) => counts.reduce((one, other) => one + other, 0)
  const ended = () => sum(loads.map(({ seen }) => seen.length))
  const received = async () => sum(await Promise.all(mills.map((mill) => mill.count())))
  await until('all goes well', () => loads.every(({ seen }) => seen.length > 100))
  await Promise.all(mills.map((mill) => mill.become('fail')))
  const [before, from] = [{ ended: ended(), received: await received() }, performance.now()]
  await until('it has failed for a while', () => performance.now() > from + 4_000)
  const [asked, got] = [ended() - before.ended, (await received()) - before.received]
  const seconds = Math.ceil((performance.now() - from) / 1_000)
  await Promise.all(loads.map((load) => load.end()))

  const failed = loads.flatMap((load) => load.between(from + 500, from + 4_000))
  t.comment(
    `${asked} were asked, ${got} have reached it; callers know after ${percentile(failed, 0.5).toFixed(1)} ms, 99 of 100 within ${percentile(failed, 0.99).toFixed(1)} ms`,
  )
  t.ok(failed.length > 500 && failed.every(({ failure }) => failure))
  t.ok(got <= 1.2 * asked + ASKING * LEAST * seconds)
  const opened = /^seam_breaker_openings_total\{.*\} [1-9]/gm
  t.equal((await metrics()).match(opened)?.length, mills.length, 'operators see that the breakers have opened')
})
