import { once } from 'node:events'
import { Redis } from 'ioredis'
import pino from 'pino'
import t from 'tap'
import { RedisStore } from '../../../../src/platform/host/cache/redis-store.ts'
import { cacheRedis } from '../../../../src/platform/host/redis.ts'
import { startRedisCluster } from '../../../support/redis-cluster.ts'
import { until } from '../../../support/until.ts'
import { look, storeSuite, textOf } from './store-suite.ts'

const LIFE = 60_000
const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' })
const cluster = await startRedisCluster()
const redis = cacheRedis(cluster.urls, log)
await once(redis, 'ready')
// It waits for Redis also on a busy machine.
const store = new RedisStore(redis, { log, patience: 2_000, pause: 100 })
t.teardown(async () => {
  await store.close()
  await cluster.close()
})

t.test('a store in a cluster', async (t) => {
  storeSuite(t, store)
  t.equal(store.name, 'Redis, a cluster')
})

t.test('answers and tags are on all of its nodes', async (t) => {
  const keep = async (n: number) =>
    store.keep(`spread-${n}`, 'a', await look(store, `spread-${n}`, ['m', `m:${n}`]), LIFE)
  await Promise.all(Array.from({ length: 100 }, (_, n) => keep(n)))
  for (const url of cluster.urls) {
    const node = new Redis(url)
    t.teardown(() => node.disconnect())
    for (const kind of ['entry:spread-', 'tag:m:']) {
      const keys = await node.keys(`seam:cache:${kind}*`)
      t.ok(keys.length > 10, `${keys.length} of ${kind} at ${url}`)
    }
  }
  await store.outdate(Array.from({ length: 50 }, (_, n) => `m:${n}`))
  const found = await Promise.all(Array.from({ length: 100 }, (_, n) => textOf(store, `spread-${n}`, ['m', `m:${n}`])))
  t.strictSame(
    found.map((text) => text !== undefined),
    Array.from({ length: 100 }, (_, n) => n >= 50),
  )
})

t.test('one address of it is enough to find the rest', async (t) => {
  const [known] = cluster.urls
  const other = cacheRedis([known!, known!], log)
  await once(other, 'ready')
  const store = new RedisStore(other, { log, patience: 2_000 })
  t.teardown(() => store.close())
  for (let n = 0; n < 20; n++) t.ok(await store.look(`found-${n}`, ['found']))
})

t.test('while a node hangs, nobody waits for long and nothing wrong is believed; then it goes on', async (t) => {
  const hasty = new RedisStore(redis, { log, patience: 200, pause: 100 })
  for (let n = 0; n < 20; n++) await store.keep(`hangs-${n}`, 'old', await look(store, `hangs-${n}`, [`h:${n}`]), LIFE)
  await cluster.signal('SIGSTOP', 1)
  const began = performance.now()
  const outdated: boolean[] = []
  for (let n = 0; n < 20; n++) outdated.push(await hasty.outdate([`h:${n}`]))
  t.ok(outdated.includes(false), 'not all could be done')
  t.ok(performance.now() - began < 4_500, `${performance.now() - began} ms`)
  await cluster.signal('SIGCONT', 1)
  for (let n = 0; n < 20; n++) {
    const found = await until('the node', () => hasty.look(`hangs-${n}`, [`h:${n}`]))
    t.equal(found.kept, undefined)
  }
})
