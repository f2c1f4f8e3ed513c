// The users module hangs, and what does not need it goes on as if nothing were.
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { Agent } from 'undici'
import { connect, type User } from '../api/client.ts'
import { SeamProcess } from '../support/processes.ts'
import { freshState, planTopology } from '../support/topology.ts'
import { until } from '../support/until.ts'
import { median } from './load.ts'

t.setTimeout(400_000)

/** What posts takes on at a time: half of it may wait for one module. */
const BUSY_LIMIT = 200
const MAY_WAIT = BUSY_LIMIT / 2
/** How many requests that need users come when it hangs: more than posts takes on, and some that the gateway passes on. */
const CALLING = 250
const PROXIED = 50
/** How many requests that do not need users are sent a second, however long answers take; every fourth writes. */
const RATE = 100
/** How many of these are sent in each round, and how many rounds there are of either kind. */
const SENT = 100
const ROUNDS = 5
/** Within how many milliseconds an answer is in time, on a machine that does other things meanwhile. What hangs takes 10 s. */
const IN_TIME = 2_000

type Ask = Pick<Parameters<Agent['request']>[0], 'path' | 'method' | 'headers' | 'body'>

t.test('while users hangs, posts answers as much as ever of what does not need users', async (t) => {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  const sql = postgres(state.env.DATABASE_URL!, { max: 1, onnotice: () => {} })
  // Those who wait and the others have connections of their own, so that it is never the client that is short of them.
  const agents = {
    waiting: new Agent({ connections: 2 * (CALLING + PROXIED) }),
    others: new Agent({ connections: SENT }),
  }
  t.teardown(async () => {
    await Promise.all([sql.end(), agents.waiting.destroy(), agents.others.destroy()])
    await state.close()
  })
  const env = { BUSY_LIMIT: String(BUSY_LIMIT) }
  const plan = await planTopology({ outside: ['users'], state: state.env, env })
  const [, users] = await Promise.all(plan.processes.map(({ name, env }) => SeamProcess.start(t, name, env).ready()))
  const api = connect(t, { url: plan.url, smtp: undefined as never, secret: '' })
  const [ada, bob] = [await api.register('Ada'), await api.register('Bob')]
  const { body } = await api.post('/api/posts', { title: 'Bulkheads', content: 'They keep a ship afloat.' }, ada)
  // Of Bob posts has never heard, so that it asks users for him whenever he writes.
  await until(
    'posts has heard of him',
    async () => (await sql`delete from posts.authors where id = ${bob.id}`).count > 0,
  )

  let keys = 0
  const write = ({ token }: User): Ask => ({
    path: '/api/posts',
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': `${++keys}` },
    body: JSON.stringify({ title: 'Who am I?', content: 'Ask users, or know it.' }),
  })
  const read: Ask = { path: `/api/posts/${body.data.id}`, method: 'GET' }
  const send = async (ask: Ask, agent: Agent, signal?: AbortSignal) => {
    const { statusCode, body } = await agent.request({ origin: plan.url, ...ask, ...(signal && { signal }) })
    await body.dump()
    return statusCode
  }
  const inProgress = async () => {
    const metrics = await (await fetch(`${plan.processes[0]!.opsUrl}/metrics`)).text()
    return Number(/seam_in_progress\{module="posts"\} (\d+)/.exec(metrics)?.[1])
  }

  /** How many of those that do not need users are answered in time. */
  const answered = async () => {
    const began = performance.now()
    const each = async (n: number) => {
      const due = began + (n * 1_000) / RATE
      await sleep(Math.max(0, due - performance.now()))
      const status = await send(n % 4 === 3 ? write(ada) : read, agents.others)
      return status < 300 && performance.now() < due + IN_TIME
    }
    return (await Promise.all(Array.from({ length: SENT }, (_, n) => each(n)))).filter(Boolean).length
  }
  const whileUsersHangs = async <T>(work: () => Promise<T>) => {
    users!.signal('SIGSTOP')
    const gone = new AbortController()
    const statuses: number[] = []
    const ask = (what: Ask) =>
      send(what, agents.waiting, gone.signal).then(
        (status) => void statuses.push(status),
        () => {},
      )
    const asked = [
      ...Array.from({ length: PROXIED }, () => ask({ path: `/api/users/${bob.id}`, method: 'GET' })),
      ...Array.from({ length: CALLING }, () => ask(write(bob))),
    ]
    // Those who come at once are more than posts takes on, whoever hangs: that is over when it has refused who may not wait.
    await until('the others are refused', () => statuses.length >= CALLING - MAY_WAIT, 8_000)
    // More of them come all the time.
    const more = setInterval(() => asked.push(ask(write(bob))), 50)
    const result = await work()
    clearInterval(more)
    t.strictSame([...new Set(statuses)], [503], 'who needs users has no answer, or is refused')
    t.ok(asked.length - statuses.length >= MAY_WAIT + PROXIED, 'and many have waited all the time')
    gone.abort()
    await Promise.all(asked)
    await until('nobody waits who could be answered', async () => (await inProgress()) === 0)
    users!.signal('SIGCONT')
    await until('users is back', async () => (await api.get(`/api/users/${ada.id}`)).status === 200)
    return result
  }

  await answered()
  const [usual, meanwhile]: [number[], number[]] = [[], []]
  for (let n = 0; n < ROUNDS; n++) {
    usual.push(await answered())
    meanwhile.push(await whileUsersHangs(answered))
  }
  t.comment(`of ${SENT} in time: as usual ${usual.join(', ')}; while users hangs ${meanwhile.join(', ')}`)
  const shares = meanwhile.map((count, n) => count / usual[n]!)
  t.ok(median(shares) >= 0.95, 'nineteen of twenty and more, as a rule')
})
