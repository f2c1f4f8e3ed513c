import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { startConsul } from './support/consul.ts'
import { SeamProcess } from './support/processes.ts'
import { freshState, planTopology } from './support/topology.ts'
import { until } from './support/until.ts'

/** Requests under way at a time. */
const AT_A_TIME = 8

/** Consul knows. */
const NOWHERE = { USERS_URL: '', POSTS_URL: '', NOTIFICATIONS_URL: '' }

t.setTimeout(240_000)

t.test('two workers are one process to clients and to operators', async (t) => {
  const consul = await startConsul()
  t.teardown(() => consul.close())
  const { seam, url, opsUrl } = await start(t, { env: { ...NOWHERE, DISCOVERY: 'consul', CONSUL_URL: consul.url } })
  const agent = new Agent({ connections: AT_A_TIME, headersTimeout: 3_000, bodyTimeout: 3_000 })
  t.teardown(() => agent.destroy())
  const get = async (url: string) => {
    const { statusCode, body } = await request(url, { dispatcher: agent })
    return { status: statusCode, text: await body.text() }
  }
  await seam.ready()
  t.match(seam.output, /^ {2}Workers +2 /m)
  const numbers = async () =>
    [...(await get(`${opsUrl}/metrics`)).text.matchAll(/^seam_process_start_time_seconds{worker="(\d)"}/gm)].map(
      ([, number]) => number,
    )
  t.same(await numbers(), ['1', '2'], 'one address has the metrics of both')

  await t.test('Consul knows of one instance, which it asks at the one port of the operators', async (t) => {
    const services = [...consul.services.values()]
    t.strictSame(services.map(({ Name }) => Name).sort(), ['notifications', 'posts', 'users'])
    for (const { Port, Check, Weights } of services) {
      t.equal(`${Port} ${Check?.HTTP}`, `${new URL(url).port} ${opsUrl}/readyz`)
      t.equal(Weights.Passing, 2, 'which is worth two')
    }
  })

  await t.test('both answer requests, and a task of operators is done by one of them', async (t) => {
    await Promise.all(Array.from({ length: 2 * AT_A_TIME }, () => get(`${url}/api/posts`)))
    const { text } = await get(`${opsUrl}/metrics`)
    const counted = [...text.matchAll(/seam_http_requests_total{worker="(\d)",.*route="\/api\/posts".*} (\d+)/g)]
    t.strictSame(counted.map(([, worker]) => worker).sort(), ['1', '2'])
    t.equal(text.match(/^# TYPE seam_http_requests_total/gm)?.length, 1, 'a metric is explained once')
    t.strictSame(await get(`${opsUrl}/events`), { status: 200, text: '{"data":[]}' })
    t.equal((await get(`${opsUrl}/none`)).status, 404)
  })

  await t.test('a worker that hangs is not alive, though the machine is ready', async (t) => {
    process.kill(workers(seam).get('2')!, 'SIGSTOP')
    const asked = performance.now()
    t.strictSame(await get(`${opsUrl}/readyz`), { status: 200, text: '{"status":"ready"}' })
    t.ok(performance.now() - asked < 1_000, 'it does not keep others waiting')
    t.equal((await get(`${opsUrl}/livez`)).status, 503)
    process.kill(workers(seam).get('2')!, 'SIGCONT')
    await until('it is alive again', async () => (await get(`${opsUrl}/livez`)).status === 200)
  })

  await t.test('a worker that is killed loses what it was answering, at most, and is replaced', async (t) => {
    let [answered, lost, goOn] = [0, 0, true]
    const client = async () => {
      while (goOn) {
        const { status } = await get(`${url}/api/posts`).catch(() => ({ status: 0 }))
        if (status === 200) answered++
        else lost++
      }
    }
    const clients = Array.from({ length: AT_A_TIME }, client)
    await until('requests are answered', () => answered > 20)
    const killed = workers(seam).get('2')!
    process.kill(killed, 'SIGKILL')
    await until('another takes its place', () => workers(seam).get('2') !== killed)
    await until('it answers', async () => (await numbers()).length === 2)
    const metrics = (await get(`${opsUrl}/metrics`)).text
    t.match(metrics, '# TYPE seam_worker_restarts_total counter')
    const restarts = [...metrics.matchAll(/^seam_worker_restarts_total{worker="(\d)"} (\d+)$/gm)]
    t.strictSame(Object.fromEntries(restarts.map(([, worker, count]) => [worker, count])), { 1: '0', 2: '1' })
    goOn = false
    await Promise.all(clients)
    t.ok(lost <= AT_A_TIME, `${lost} of ${answered} requests were lost`)
    t.match(seam.output, /"worker":2,"code":null,"signal":"SIGKILL".*"msg":"a worker has ended and is started again"/)
  })

  await t.test('Ctrl-C, which reaches all of them, ends all of them well', async (t) => {
    const pids = [...workers(seam).values()]
    for (const pid of pids) process.kill(pid, 'SIGINT')
    const { code, milliseconds } = await seam.end('SIGINT')
    t.equal(code, 0, seam.output)
    t.ok(milliseconds < 8_000, `it took ${milliseconds} ms`)
    t.notOk(pids.some(isRunning))
    t.equal(consul.services.size, 0, 'and Consul has been told')
  })

  await t.test('workers whose primary is killed end by themselves', async () => {
    await seam.restart()
    const pids = [...workers(seam).values()]
    await seam.end('SIGKILL')
    await until('they end', () => !pids.some(isRunning))
  })
})

t.test('what keeps a worker from starting ends all, with its message and its exit code', async (t) => {
  const before = async (port: number) => {
    const other = createServer().listen(port, '127.0.0.1')
    await once(other, 'listening')
    t.teardown(() => void other.close())
  }
  const { seam, port } = await start(t, { before })
  const { code } = await seam.exit()
  t.equal(code, 1)
  t.equal(seam.output.match(/Seam cannot start/g)?.length, 1, 'it is not tried again')
  t.match(seam.output, `127.0.0.1:${port} is in use already. Take another, as in PORT=`)
})

async function start(t: Test, options: { env?: Record<string, string>; before?: (port: number) => Promise<void> }) {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  t.teardown(() => state.close())
  const plan = await planTopology({ state: state.env, env: { WORKERS: '2', LOG_LEVEL: 'info', ...options.env } })
  const { url, opsUrl, env } = plan.processes[0]!
  const port = Number(env.PORT)
  await options.before?.(port)
  return { seam: SeamProcess.start(t, 'workers', env), url, opsUrl, port }
}

/** The processes of workers by number, the newest of each, as the log says them. */
const workers = (seam: SeamProcess): Map<string, number> =>
  new Map([...seam.output.matchAll(/"pid":(\d+),"hostname":"[^"]*","worker":(\d)/g)].map((m) => [m[2]!, Number(m[1])]))

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
