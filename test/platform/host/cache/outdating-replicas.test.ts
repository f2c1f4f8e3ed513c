import postgres from 'postgres'
import t from 'tap'
import { redisServer } from '../../../support/redis-server.ts'
import { freshState } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'
import { shelf, start, World } from './shelf.ts'

t.setTimeout(240_000)

t.test('an event is sent to those who may have kept answers, and to nobody else', async (t) => {
  const world = new World()
  const { databaseUrl } = await start(t, world, { subscribes: false })
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await world.change('a', 1)
  await world.shelf!.db.transaction((tx) => world.shelf!.publish(tx, shelf.events.dusted, { id: 'a' }))
  const sent = await sql`
    select name, subscriber from users.outbox left join users.outbox_deliveries on event_id = id order by name`
  t.strictSame(
    [...sent].map((row) => ({ ...row })),
    [
      { name: 'shelf.changed', subscriber: 'posts' },
      { name: 'shelf.dusted', subscriber: null },
    ],
  )
})

t.test('all processes that host the module are told, when each keeps answers in its memory', async (t) => {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  t.teardown(() => state.close())
  const world = new World()
  for (let replica = 0; replica < 2; replica++) await start(t, world, { subscribes: true, state: state.env })
  const all = () => Promise.all(world.readers.map(async (client) => (await client.read({ id: '1' })).n))
  for (let n = 1; n <= 10; n++) {
    t.strictSame(await all(), [n - 1, n - 1])
    await world.change('1', n)
    await until('both', async () => (await all()).every((read) => read === n))
  }
  world.books.set('1', 11)
  await world.shelf!.db.transaction((tx) => world.shelf!.publish(tx, shelf.events.moved, { to: 'the attic' }))
  await until('both, when it is more than can be said', async () => (await all()).every((read) => read === 11))
})

t.test('what an event has outdated while the Redis of the cache hung is not believed by anybody', async (t) => {
  const cache = await redisServer()
  await cache.start()
  t.teardown(() => cache.signal('SIGKILL'))
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  t.teardown(() => state.close())
  const world = new World()
  const env = { CACHE_REDIS_URL: cache.url }
  for (let replica = 0; replica < 2; replica++) await start(t, world, { subscribes: true, state: state.env, env })
  const all = () => Promise.all(world.readers.map(async (client) => (await client.read({ id: 'a' })).n))
  const areKept = async () => {
    const { reads } = world
    await all()
    return world.reads === reads
  }
  await until('the cache', areKept)
  await cache.signal('SIGSTOP')
  t.teardown(() => cache.signal('SIGCONT'))
  await world.change('a', 1)
  await until('the event', () => world.handled.length === 1)
  t.strictSame(world.handled, [{ n: 1, read: 1 }], 'which is handled all the same')
  await cache.signal('SIGCONT')
  await until('the cache', async () => {
    t.strictSame(await all(), [1, 1])
    return areKept()
  })
  t.strictSame(await all(), [1, 1])
})

t.test('a process starts, and answers, while the Redis of the cache is away', async (t) => {
  const cache = await redisServer()
  const world = new World()
  await start(t, world, { subscribes: true, env: { CACHE_REDIS_URL: cache.url } })
  const [client] = world.readers
  t.equal((await client!.read({ id: 'a' })).n, 0)
  await world.change('a', 1)
  await until('the event', () => world.handled.length === 1)
  t.equal((await client!.read({ id: 'a' })).n, 1)
  await cache.start()
  t.teardown(() => cache.signal('SIGKILL'))
  await until('the cache', async () => {
    const { reads } = world
    t.equal((await client!.read({ id: 'a' })).n, 1)
    return world.reads === reads
  })
})
