import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { connect } from '../../../api/client.ts'
import { startPair } from '../../../support/replica.ts'
import { startTopology } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

t.setTimeout(240_000)

const pair = await startPair()
// Posts are behind a gateway: the gateway knows who has written, and the module's process reads.
const env = { DATABASE_REPLICA_URL: pair.replicaUrl }
const topology = await startTopology({ outside: ['posts'], state: { DATABASE_URL: pair.primaryUrl }, env })
t.teardown(async () => {
  await topology.close()
  await pair.close()
})
const api = connect(t, { url: topology.url, secret: '', smtp: undefined as never })

/** How many statements a pool of `posts` has answered. */
const statements = async (pool: 'posts' | 'posts:replica') => {
  const { body } = await topology.apps.get('posts')!.ops.inject('/metrics')
  return Number(new RegExp(`seam_statement_seconds_count{module="${pool}"} (\\d+)`).exec(body)?.[1] ?? 0)
}
/** Whether a request is answered from the replica. */
const readsFromReplica = async (get: () => Promise<unknown>) => {
  const before = await statements('posts:replica')
  await get()
  return (await statements('posts:replica')) > before
}
/** Replicas are looked at once a second, so there is no hurry. */
const inTime = (what: string, condition: () => Promise<boolean>) => until(what, () => sleep(200).then(condition))
const anyone = async () => t.equal((await api.get('/api/posts')).status, 200)

const ada = await api.register('Ada')
const first = (await api.post('/api/posts', { title: 'First', content: 'Words.' }, ada)).body.data
await pair.caughtUp()

t.test('what only reads is answered from the replica, also for those who have not written for a while', async (t) => {
  await inTime('the replica is known to be well', () => readsFromReplica(anyone))
  t.ok(
    await readsFromReplica(async () => t.match(await api.get(`/api/posts/${first.id}`), { status: 200 })),
    'one post, which many may ask for at once',
  )
  const eve = await api.register('Eve')
  t.notOk(await readsFromReplica(() => api.get('/api/posts', eve)))
  await inTime('her registration is there', () => readsFromReplica(() => api.get('/api/posts', eve)))
})

t.test('who has written reads that, while others still see what the replica has', async (t) => {
  await pair.tell('select pg_wal_replay_pause()')
  const { data } = (await api.post('/api/posts', { title: 'Second', content: 'Words.' }, ada)).body
  const path = `/api/posts/${data.id}`
  t.equal((await api.get(path, { token: ada.token })).status, 200, 'by a token')
  t.equal((await api.get(path, { cookie: ada.cookie })).status, 200, 'by the cookie of the same session')
  t.equal((await api.get(path)).status, 404, 'the replica has not heard of it')
  t.equal((await api.send('PATCH', path, { ...ada, json: { title: 'Third' } })).status, 200)
  t.equal((await api.get(path, ada)).body.data.title, 'Third')

  await t.test('a replica that is far behind is not read from, until it has caught up', async (t) => {
    await inTime('the primary is asked', async () => (await api.get(path)).status === 200)
    t.notOk(await readsFromReplica(anyone))
    await pair.tell('select pg_wal_replay_resume()')
    await inTime('the replica is asked', () => readsFromReplica(anyone))
    t.equal((await api.get(path)).body.data.title, 'Third')
  })
})

t.test('what a replica was asked when it died, the primary answers', async (t) => {
  const all = () => Promise.all(Array.from({ length: 8 }, () => api.get('/api/posts')))
  t.ok(await readsFromReplica(all), 'on connections that requests have opened which are over')
  const sql = postgres(pair.primaryUrl, { max: 1 })
  t.teardown(() => sql.end())
  const release = Promise.withResolvers<void>()
  // The replica locks what the primary has locked.
  const locked = sql.begin(async (sql) => {
    await sql`lock table posts.posts in access exclusive mode`
    await sql`select pg_switch_wal()`
    await release.promise
  })
  await pair.caughtUp()
  const asked = all()
  const waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
  await until('the replica has been asked', async () => (await pair.tell(waiting)).length > 0)
  await pair.kill()
  release.resolve()
  await locked
  for (const { status } of await asked) t.equal(status, 200)
  await pair.start()
  await inTime('it is read from again', () => readsFromReplica(anyone))
})

t.test('a replica that is gone is not missed, and found again when it is back', async (t) => {
  t.ok(await readsFromReplica(anyone))
  await pair.kill()
  await Promise.all(Array.from({ length: 20 }, anyone))
  t.notOk(await readsFromReplica(anyone))
  await pair.start()
  await inTime('it is read from again', () => readsFromReplica(anyone))
})
