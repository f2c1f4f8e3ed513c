import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect } from '../../api/client.ts'
import { startRedisCluster } from '../../support/redis-cluster.ts'
import { freshState, startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'

t.setTimeout(240_000)

const cluster = await startRedisCluster({ replicas: true })
const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
const REDIS_URL = cluster.urls.join(',')
const topology = await startTopology({ outside: ['users'], state: { ...state.env, REDIS_URL } })
t.teardown(async () => {
  await topology.close()
  await cluster.close()
  await state.close()
})
const api = connect(t, { url: topology.url, secret: '', smtp: undefined as never })
const postCount = async (id: string) => (await api.get(`/api/users/${id}`)).body.data.postCount

t.test('sessions and queues are in a Redis Cluster, and outlive one of its nodes', async (t) => {
  const people = await Promise.all(Array.from({ length: 12 }, (_, n) => api.register(`Person${n}`)))
  const [writer] = people
  t.equal((await api.post('/api/posts', { title: 'First', content: 'Words.' }, writer)).status, 201)
  await until('its event has been handled', async () => (await postCount(writer!.id)) === 1)

  // What a node has confirmed and not yet passed on is lost with it.
  await cluster.caughtUp()
  const statuses = new Map<number, number>()
  let [goOn, slowest] = [true, 0]
  const writing = (async () => {
    while (goOn) {
      const began = performance.now()
      const { status } = await api.post('/api/posts', { title: 'More', content: 'Words.' }, writer)
      slowest = Math.max(slowest, performance.now() - began)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      await sleep(20)
    }
  })()
  await until('posts are written', () => (statuses.get(201) ?? 0) > 5)
  await cluster.signal('SIGKILL', await cluster.nodeOf('{seam}'))
  const before = statuses.get(201) ?? 0
  await sleep(3_000)
  await until('posts are written again', () => (statuses.get(201) ?? 0) > before + 5)
  goOn = false
  await writing

  t.strictSame(
    [...statuses.keys()].filter((status) => status !== 201 && status !== 503),
    [],
    'nothing but 201 and 503',
  )
  t.ok(slowest < 3_000, `the slowest took ${Math.round(slowest)} ms`)
  const created = 1 + statuses.get(201)!
  await until('each post has been counted, once', async () => (await postCount(writer!.id)) >= created)
  t.equal(await postCount(writer!.id), created)
  for (const person of people)
    t.equal((await api.get('/api/notifications', person)).status, 200, 'a session is there still')
})
