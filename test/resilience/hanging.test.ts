// One of three instances of a module hangs: it takes what it is asked, and answers nothing.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(240_000)

/** How long it hangs, in milliseconds: longer than an edge gives a request. */
const HANGS = 13_000
/** What an edge gives a request, and what calls are given here. */
const DEADLINE = { request: 10_000, call: 1_000 }
/** The timers of a machine that does other things meanwhile are late. */
const LATE = 1_000

t.test('one of three hangs: hardly anybody waits in vain, and when it goes on it is asked again', async (t) => {
  const { mills, http, grpc, get } = await scene(t)
  const hanging = mills[0]!
  let back = Number.POSITIVE_INFINITY
  const load = (ask: () => Promise<{ pid: number }>, deadline: number) => {
    /** How often it has answered what was asked after it went on. */
    let answers = 0
    const noting = async () => {
      const began = performance.now()
      const { pid } = await ask()
      if (pid === hanging.pid && began > back) answers++
    }
    return Object.assign(keepAsking(noting, { callers: 8, pause: 10 }), { deadline, isBack: () => answers > 20 })
  }
  const loads = {
    'calls by http': load(() => http.grind({}, { timeout: DEADLINE.call }), DEADLINE.call),
    'calls by grpc': load(() => grpc.grind({}, { timeout: DEADLINE.call }), DEADLINE.call),
    requests: load(get, DEADLINE.request),
  }
  const all = Object.values(loads)
  await until('all goes well', () => all.every(({ seen }) => seen.length > 200))
  const from = performance.now()
  hanging.signal('SIGSTOP')
  await until('it has hung for a while', () => performance.now() > from + HANGS)
  hanging.signal('SIGCONT')
  back = performance.now()
  await until('it answers all of them', () => all.every(({ isBack }) => isBack()))
  const again = performance.now()
  await until('all has gone on', () => performance.now() > again + 1_000)
  await Promise.all(all.map((load) => load.end()))

  for (const [what, { deadline, between }] of Object.entries(loads)) {
    const asked = between(from, back)
    const failed = asked.filter(({ failure }) => failure)
    const longest = Math.max(...asked.map(({ milliseconds }) => milliseconds))
    t.comment(`${failed.length} of ${asked.length} ${what} have waited in vain, ${longest.toFixed(0)} ms at most`)
    t.ok(failed.length <= asked.length * 0.02, `at most one of fifty ${what} waits in vain`)
    t.ok(longest < deadline + LATE, `${what} end by their deadline`)
    const seconds = Array.from({ length: HANGS / 1_000 }, (_, n) => from + n * 1_000)
    const answered = seconds.map((begin) => between(begin, begin + 1_000).filter(({ failure }) => !failure).length)
    t.ok(Math.min(...answered) > 20, `${what} are answered all the time: ${answered} in each second`)
    const failures = between(again, Number.POSITIVE_INFINITY).flatMap(({ failure }) => failure ?? [])
    t.strictSame(failures, [], `and all ${what} when it is back`)
  }
})
