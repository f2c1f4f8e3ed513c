// What a process does when it is asked for more than it can do, and when a module that it needs does not answer.
import { Agent, request } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { defineContract, query } from '../../../src/platform/kit/contract.ts'
import { sql } from '../../../src/platform/kit/tables.ts'
import { startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'
import { moduleOf } from './boot.ts'

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
  milliseconds: number
}

/** Requests on kept connections, each counted when it is answered. */
function client(t: Test, connections = 2_000) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  t.teardown(() => agent.destroy())
  return (url: string) =>
    new Promise<Answer>((resolve, reject) => {
      const started = performance.now()
      const sent = request(url, { agent }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (chunk) => (body += chunk))
        response.on('error', reject).on('end', () => {
          const { statusCode, headers } = response
          resolve({ status: statusCode!, headers, body, milliseconds: performance.now() - started })
        })
      })
      sent.on('error', reject).end()
    })
}

t.setTimeout(240_000)

const queue = defineContract('queue', { routes: ['/api/queue'] })
const queueModule = moduleOf(queue, async (app) => {
  app.get('/api/queue', { config: { allow: 'anyone' } }, async () => {
    // Ten connections: 50 requests a second, whatever else the machine does.
    await app.db.execute(sql`select pg_sleep(0.2)`)
    return { data: {} }
  })
})

t.test('a process that is asked for ten times as much as it can do goes on doing what it can', async (t) => {
  const BUSY_LIMIT = 20
  const topology = await startTopology({ catalogue: [queueModule], env: { BUSY_LIMIT: String(BUSY_LIMIT) } })
  t.teardown(() => topology.close())
  const ask = client(t)
  const ops = `http://127.0.0.1:${(topology.apps.get('main')!.ops.server.address() as { port: number }).port}`
  const load = async (connections: number, milliseconds: number) => {
    const end = performance.now() + milliseconds
    const answers: Answer[] = []
    const worker = async () => {
      while (performance.now() < end) {
        const answer = await ask(`${topology.url}/api/queue`)
        answers.push(answer)
        // It should wait a second; it does not want to.
        if (answer.status === 503) await sleep(150)
      }
    }
    await Promise.all(Array.from({ length: connections }, worker))
    return { good: answers.filter(({ status }) => status === 200), bad: answers.filter(({ status }) => status !== 200) }
  }
  await load(20, 300)
  const watch = async (path: string, whileTrue: () => boolean) => {
    let slowest = 0
    let count = 0
    for (; whileTrue(); count++) {
      const { status, milliseconds } = await ask(path)
      // The database may be too busy to say within 800 ms that it is well.
      if (status !== 200 && !path.endsWith('/api/health')) slowest = Number.POSITIVE_INFINITY
      slowest = Math.max(slowest, milliseconds)
      await sleep(50)
    }
    return count > 0 ? slowest : Number.POSITIVE_INFINITY
  }
  const round = async () => {
    const usual = await load(20, 1_200)
    t.equal(usual.bad.length, 0)
    let over = false
    const watched = [`${topology.url}/api/health`, `${ops}/livez`, `${ops}/readyz`].map((path) =>
      watch(path, () => !over),
    )
    const { good, bad } = await load(100, 1_200)
    over = true
    const took = good.map(({ milliseconds }) => milliseconds).sort((one, other) => one - other)
    return {
      bad,
      share: good.length / usual.good.length,
      p99: took[Math.floor(took.length * 0.99)]!,
      bystanders: Math.max(...(await Promise.all(watched))),
    }
  }
  // The machine may do other things meanwhile, so the best of some rounds counts.
  const rounds = [await round()]
  const holds = ({ share, p99, bystanders }: (typeof rounds)[0]) => share >= 0.7 && p99 < 1_000 && bystanders < 1_000
  while (!rounds.some(holds) && rounds.length < 4) rounds.push(await round())
  const seen = rounds.map(({ share, p99, bystanders }) => ({ share, p99, bystanders }))
  t.ok(rounds.some(holds), `it answers as much as without overload, and soon: ${JSON.stringify(seen)}`)
  const bad = rounds.flatMap(({ bad }) => bad)
  t.ok(bad.length > 20, `and refuses the rest: ${bad.length}`)
  const { headers, body } = bad[0]!
  t.match(headers, {
    'content-type': 'application/problem+json',
    'retry-after': '1',
    'x-content-type-options': 'nosniff',
  })
  t.match(JSON.parse(body), { status: 503, code: 'Overloaded', module: 'queue', type: 'urn:seam:queue:Overloaded' })
  t.ok(bad.every(({ status }) => status === 503))
  const { body: metrics } = await ask(`${ops}/metrics`)
  t.match(metrics, new RegExp(`seam_refused_total\\{module="queue"\\} ${bad.length}\\n`), 'they are counted')
  t.match(metrics, 'seam_in_progress{module="queue"} 0')
})

t.test('a gateway does not take an instance for ill that has enough to do', async (t) => {
  const topology = await startTopology({ catalogue: [queueModule], outside: ['queue'], env: { BUSY_LIMIT: '20' } })
  t.teardown(() => topology.close())
  const ask = client(t)
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(`${topology.url}/api/queue`)))
  const statuses = Object.groupBy(answers, ({ status }) => status)
  t.strictSame(Object.keys(statuses), ['200', '503'])
  t.ok(statuses[200]!.length >= 20, `${statuses[200]!.length} answered`)
  t.equal((await ask(`${topology.url}/api/queue`)).status, 200, 'at once after that')
})

t.test('who sends a body slowly, or does not read the answer, keeps nobody out', async (t) => {
  const slow = defineContract('slow', { routes: ['/api/slow'] })
  const module = moduleOf(slow, async (app) => {
    app.post('/api/slow', { config: { allow: 'anyone' } }, async () => ({ data: 'x'.repeat(4_000_000) }))
  })
  const topology = await startTopology({ catalogue: [module], env: { BUSY_LIMIT: '2' } })
  t.teardown(() => topology.close())
  const { port } = new URL(topology.url)
  const { connect } = await import('node:net')
  const head = 'POST /api/slow HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n'
  const sockets = Array.from({ length: 10 }, (_, n) => {
    const socket = connect(Number(port), '127.0.0.1').pause()
    socket.write(n % 2 ? `${head}content-length: 10\r\n\r\n{"a"` : `${head}content-length: 2\r\n\r\n{}`)
    return socket
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let n = 0; n < 10; n++) {
    const { status } = await fetch(`${topology.url}/api/slow`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    t.equal(status, 200)
  }
})

const away = defineContract('away', {
  routes: ['/api/away'],
  procedures: { find: query({ input: Type.Object({ n: Type.Integer() }), output: Type.Object({}) }) },
})
const here = defineContract('here', { routes: ['/api/here'] })

t.test('while a module hangs, what does not need it goes on as ever', async (t) => {
  const connections = new Set<Socket>()
  let gone = false
  const hanging = createServer((socket) => {
    connections.add(socket.on('error', () => {}).resume())
    if (gone) socket.destroy()
  })
  await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of connections) socket.destroy()
    hanging.close()
  })
  const catalogue = [
    moduleOf(away, async (app) => app.implement({ find: async () => ({}) })),
    moduleOf(
      here,
      async (app) => {
        const { find } = app.call(away)
        const config = { allow: 'anyone' } as const
        app.get('/api/here', { config }, async () => {
          const [row] = await app.db.execute<{ n: number }>(sql`select 1 as n`)
          return { data: row }
        })
        app.get('/api/here/asking', { config }, async () => find({ n: 1 }))
      },
      { uses: [away] },
    ),
  ]
  const address = `http://127.0.0.1:${(hanging.address() as { port: number }).port}`
  const topology = await startTopology({
    catalogue,
    outside: ['away', 'here'],
    env: { AWAY_URL: address, BUSY_LIMIT: '100' },
  })
  t.teardown(() => topology.close())
  const direct = client(t)
  const requests = async (paths: string[]) => Promise.all(paths.map((path) => direct(topology.url + path)))
  const many = (count: number, path: string) => Array.from({ length: count }, () => path)
  const usual = await requests(many(50, '/api/here'))
  t.ok(usual.every(({ status }) => status === 200))

  const outcomes: Answer[] = []
  const asking = many(100, '/api/here/asking').map((path) =>
    direct(topology.url + path).then(
      (answer) => void outcomes.push(answer),
      () => {},
    ),
  )
  const proxied = many(50, '/api/away').map((path) => direct(topology.url + path).catch(() => {}))
  await until('all that may wait do so, and the rest has been refused', () => outcomes.length >= 50)
  t.ok(outcomes.every(({ status, body }) => status === 503 && JSON.parse(body).code === 'Overloaded'))
  t.equal(outcomes.length, 50, 'at most half of what the process takes on hangs')
  for (let round = 0; round < 5; round++) {
    const answers = await requests(many(50, '/api/here'))
    t.equal(answers.filter(({ status }) => status === 200).length, 50, 'everything else is answered')
  }
  t.equal(outcomes.length, 50, 'while the others still hang')
  gone = true
  for (const socket of connections) socket.destroy()
  await Promise.all([...asking, ...proxied])
})
