// Three instances of a module are restarted one after the other, as processes are, while all of them are asked.
import t from 'tap'
import { until } from '../support/until.ts'
import { keepAsking, percentile } from './load.ts'
import { scene } from './mills.ts'

t.setTimeout(240_000)

t.test('instances are restarted in turn, and nothing fails', async (t) => {
  const { mills, http, grpc, get } = await scene(t)
  const loads = {
    'queries by http': keepAsking(() => http.grind({}), { callers: 6, pause: 10 }),
    'queries by grpc': keepAsking(() => grpc.grind({}), { callers: 6, pause: 10 }),
    // Without keys: what has reached nobody may be sent again, and nothing else.
    'commands by http': keepAsking(() => http.crush({}), { callers: 6, pause: 10 }),
    'commands by grpc': keepAsking(() => grpc.crush({}), { callers: 6, pause: 10 }),
    requests: keepAsking(get, { callers: 4, pause: 10 }),
  }
  const began = performance.now()
  for (const mill of mills) {
    await mill.end('SIGTERM')
    await mill.start()
    const count = await mill.count()
    await until('it is asked again', async () => (await mill.count()) > count + 20)
  }
  await Promise.all(Object.values(loads).map((load) => load.end()))
  const seconds = ((performance.now() - began) / 1_000).toFixed(1)
  for (const [what, load] of Object.entries(loads)) {
    t.comment(`${load.seen.length} ${what} in ${seconds} s, p99 ${percentile(load.seen, 0.99).toFixed(1)} ms`)
    t.strictSame(load.failures, [])
    t.ok(load.seen.length > 200)
  }
})
