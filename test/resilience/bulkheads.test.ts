// The users module hangs, and what does not need it goes on as if nothing were.
import postgres from 'postgres'
import t from 'tap'
import { Agent, request } from 'undici'
import { connect } from '../api/client.ts'
import { SeamProcess } from '../support/processes.ts'
import { freshState, planTopology } from '../support/topology.ts'
import { until } from '../support/until.ts'
import { median } from './load.ts'

t.setTimeout(60_000)

/** How many requests that need users are under way while it hangs. */
const CALLING = 60
const PROXIED = 40
/** How long each window lasts, in milliseconds, and how many there are of either kind. */
const WINDOW = 250
const SETTLING = 80
const LEAST = 8
const MOST = 20

t.test('while users hangs, posts are read as fast as ever', async (t) => {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  const sql = postgres(state.env.DATABASE_URL!, { max: 1, onnotice: () => {} })
  const agent = new Agent({ connections: 2 * (CALLING + PROXIED), pipelining: 1 })
  t.teardown(async () => {
    await sql.end()
    await agent.destroy()
    await state.close()
  })
  const plan = await planTopology({ outside: ['users'], state: state.env })
  const [, users] = await Promise.all(plan.processes.map(({ name, env }) => SeamProcess.start(t, name, env).ready()))
  const api = connect(t, { url: plan.url, smtp: undefined as never, secret: '' })
  const [ada, bob] = [await api.register('Ada'), await api.register('Bob')]
  const { body } = await api.post('/api/posts', { title: 'Bulkheads', content: 'They keep a ship afloat.' }, ada)
  // Of Bob posts has never heard, so that it asks users for him whenever he writes.
  await until(
    'posts has heard of him',
    async () => (await sql`delete from posts.authors where id = ${bob.id}`).count > 0,
  )

  const read = async () => {
    const answer = await request(`${plan.url}/api/posts/${body.data.id}`, { dispatcher: agent })
    await answer.body.dump()
    return answer.statusCode === 200
  }
  const throughput = async () => {
    // What comes before a window goes on for a moment: that is not counted.
    const begin = performance.now() + SETTLING
    const end = begin + WINDOW
    let good = 0
    const reader = async () => {
      while (performance.now() < end) if ((await read()) && performance.now() > begin) good++
    }
    await Promise.all(Array.from({ length: 8 }, reader))
    return (good * 1_000) / WINDOW
  }
  const hanging = async <T>(work: () => Promise<T>) => {
    users!.signal('SIGSTOP')
    const gone = new AbortController()
    const answers: string[] = []
    const send = (path: string, own: object) =>
      request(plan.url + path, { dispatcher: agent, signal: gone.signal, ...own }).then(
        async ({ statusCode, body }) => answers.push(`${path}: ${statusCode} ${await body.text()}`),
        () => {},
      )
    const write = {
      method: 'POST',
      headers: { authorization: `Bearer ${bob.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ title: 'Who am I?', content: 'Ask users.' }),
    } as const
    const asked = [
      ...Array.from({ length: CALLING }, () => send('/api/posts', write)),
      ...Array.from({ length: PROXIED }, () => send(`/api/users/${bob.id}`, {})),
    ]
    await until('they all wait', async () => (await inProgress()) >= CALLING)
    const result = await work()
    t.strictSame(answers, [], 'nobody who needs users has an answer')
    gone.abort()
    await Promise.all(asked)
    await until('nobody waits who could be answered', async () => (await inProgress()) === 0)
    users!.signal('SIGCONT')
    await until('users is back', async () => (await api.get(`/api/users/${ada.id}`)).status === 200)
    return result
  }
  const inProgress = async () => {
    const metrics = await (await fetch(`${plan.processes[0]!.opsUrl}/metrics`)).text()
    return Number(/seam_in_progress\{module="posts"\} (\d+)/.exec(metrics)?.[1])
  }

  for (let n = 0; n < 3; n++) await throughput()
  await hanging(throughput)
  const [usual, meanwhile]: [number[], number[]] = [[], []]
  const share = () => ({
    middle: median(meanwhile.map((reads, n) => reads / usual[n]!)),
    best: Math.max(...meanwhile) / Math.max(...usual),
  })
  // The machine may do other things meanwhile, so there may be more windows, and the best of them may decide.
  const holds = () => usual.length >= LEAST && Math.max(share().middle, share().best) >= 0.95
  while (!holds() && usual.length < MOST) {
    usual.push(await throughput())
    meanwhile.push(await hanging(throughput))
  }
  t.comment(`reads a second: usual ${usual.join(', ')}; while users hangs ${meanwhile.join(', ')}`)
  t.comment(`of the usual: ${share().middle.toFixed(2)} in the middle, ${share().best.toFixed(2)} at best`)
  t.ok(holds())
})
