import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { type Client, type Contract, defineContract, event, query } from '../../../../src/platform/kit/contract.ts'
import {
  defineModule,
  definePlugin,
  type Manifest,
  type ModuleApp,
  type ModulePlugin,
} from '../../../../src/platform/kit/module.ts'
import { redisServer } from '../../../support/redis-server.ts'
import { freshState, startTopology, type TopologyOptions } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

t.setTimeout(60_000)

// Named as modules that have migrations.
const shelf = defineContract('users', {
  procedures: {
    read: query({
      input: Type.Object({ id: Type.String() }),
      output: Type.Object({ n: Type.Integer() }),
      cache: { ttl: 3_600, tags: ({ id }) => [`book:${id}`] },
    }),
  },
  events: {
    changed: event('shelf.changed', {
      version: 1,
      key: 'id',
      data: Type.Object({ id: Type.String(), n: Type.Integer() }),
      outdates: ({ id }) => [`book:${id}`],
    }),
    /** Changes more than can be said in one signal. */
    moved: event('shelf.moved', {
      version: 1,
      key: 'to',
      data: Type.Object({ to: Type.String() }),
      outdates: () => Array.from({ length: 2_000 }, (_, n) => `book:${n}`),
    }),
    dusted: event('shelf.dusted', { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }),
  },
})
const reader = defineContract('posts', {})

/** What the modules of one test do and know, in whichever of its processes. */
class World {
  /** What is true. */
  readonly books = new Map<string, number>()
  reads = 0
  shelf: ModuleApp<typeof shelf> | undefined
  /** One for each process that hosts the reader. */
  readonly readers: Client<typeof shelf>[] = []
  readonly handled: { n: number; read: number }[] = []

  /** @param subscribes whether the reader also handles the event itself */
  catalogue(subscribes: boolean): readonly Manifest[] {
    const shelfPlugin = definePlugin<typeof shelf>((app) => {
      this.shelf = app
      app.implement({
        read: ({ id }) => {
          this.reads++
          return { n: this.books.get(id) ?? 0 }
        },
      })
    })
    const readerPlugin = definePlugin<typeof reader>((app) => {
      const client = app.call(shelf)
      this.readers.push(client)
      if (!subscribes) return
      app.subscribe(shelf.events.changed, async ({ data: { id, n } }) => {
        this.handled.push({ n, read: (await client.read({ id })).n })
      })
    })
    return [
      moduleOf(shelf, shelfPlugin),
      moduleOf(reader, readerPlugin, { uses: [shelf], ...(subscribes && { subscribes: [shelf.events.changed] }) }),
    ]
  }

  async change(id: string, n: number): Promise<void> {
    this.books.set(id, n)
    const app = this.shelf!
    await app.db.transaction((tx) => app.publish(tx, shelf.events.changed, { id, n }))
  }
}

function moduleOf<C extends Contract>(
  contract: C,
  plugin: ModulePlugin<C>,
  parts: { uses?: Contract[]; subscribes?: Manifest['subscribes'] } = {},
): Manifest {
  return defineModule(contract, { ...parts, plugin: async () => ({ default: plugin }) }) as unknown as Manifest
}

async function start(t: Test, world: World, options: TopologyOptions & { subscribes: boolean }) {
  const topology = await startTopology({ ...options, catalogue: world.catalogue(options.subscribes) })
  t.teardown(() => topology.close())
  return topology
}

for (const outside of [[], ['users']])
  for (const queue of ['postgres', 'redis'] as const) {
    const place = outside.length > 0 ? 'in two processes' : 'in one process'
    const where = `${place}, kept ${queue === 'redis' ? 'in Redis' : 'in memory'}`

    t.test(`whoever handles an event reads what is true since, ${where}`, async (t) => {
      const world = new World()
      await start(t, world, { outside, queue, subscribes: true })
      const [client] = world.readers
      for (let n = 1; n <= 20; n++) {
        t.equal((await client!.read({ id: 'a' })).n, n - 1)
        await world.change('a', n)
        await until('the event', () => world.handled.length === n)
        t.strictSame(world.handled.at(-1), { n, read: n })
      }
      t.equal((await client!.read({ id: 'a' })).n, 20, 'and so does everybody after it')
      const { reads } = world
      await client!.read({ id: 'b' })
      await world.change('a', 21)
      await until('the event', () => world.handled.length === 21)
      await client!.read({ id: 'b' })
      t.ok(world.reads <= reads + 3, 'another book was read once')
    })

    t.test(`a module that does not subscribe is told all the same, ${where}`, async (t) => {
      const world = new World()
      await start(t, world, { outside, queue, subscribes: false })
      const [client] = world.readers
      const read = async (id: string) => (await client!.read({ id })).n
      t.equal(await read('7'), 0)
      await world.change('7', 1)
      await until('what is true', async () => (await read('7')) === 1)
      world.books.set('7', 2)
      await world.shelf!.db.transaction(async (tx) => {
        await world.shelf!.publish(tx, shelf.events.dusted, { id: '7' })
        await world.shelf!.publish(tx, shelf.events.moved, { to: 'the hall' })
      })
      await until('what is true', async () => (await read('7')) === 2)
    })
  }

t.test('an event is sent to those who may have kept answers, and to nobody else', async (t) => {
  const world = new World()
  const { databaseUrl } = await start(t, world, { subscribes: false })
  const { default: postgres } = await import('postgres')
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
