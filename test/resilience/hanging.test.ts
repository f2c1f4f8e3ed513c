// One of three instances of a module hangs: it takes what it is asked, and answers nothing.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(60_000)

t.test('one of three hangs: only what it is given before others are less busy waits in vain', async (t) => {
  const { mills, http } = await scene(t)
  const load = keepAsking(() => http.grind({}, { timeout: 1_000 }), { callers: 8, pause: 10 })
  await until('all goes well', () => load.seen.length > 200)
  const from = performance.now()
  mills[0]!.signal('SIGSTOP')
  await until('time has passed', () => performance.now() > from + 4_000)
  mills[0]!.signal('SIGCONT')
  await load.end()
  const asked = load.between(from, from + 4_000)
  const failed = asked.filter(({ failure }) => failure)
  t.comment(`${failed.length} of ${asked.length} have waited in vain`)
  t.ok(failed.length <= asked.length * 0.02)
})
