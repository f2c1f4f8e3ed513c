import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pino from 'pino'
import t, { type Test } from 'tap'
import { RedisStore } from '../../../../src/platform/host/cache/redis-store.ts'
import type { CacheStore } from '../../../../src/platform/host/cache/store.ts'
import { cacheRedis } from '../../../../src/platform/host/redis.ts'
import { redisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'
import { look, storeSuite, textOf } from './store-suite.ts'

const LIFE = 60_000
const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' })
const server = await redisServer()
await server.start()
const admin = new Redis(server.url, { lazyConnect: true })
admin.on('error', () => {})
t.teardown(async () => {
  admin.disconnect()
  await server.signal('SIGKILL')
})

const HASTY = { log, patience: 200, pause: 100 }
/** A store that waits for Redis also on a busy machine, and does not leave it alone for long. */
const PATIENT = { log, patience: 2_000, pause: 100 }

async function open(
  t: Test,
  options: { log: typeof log; patience?: number; pause?: number } = PATIENT,
): Promise<CacheStore> {
  const redis = cacheRedis([server.url], log)
  await once(redis, 'ready')
  const store = new RedisStore(redis, options)
  t.teardown(() => store.close())
  return store
}

/** How long it took, in milliseconds. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

t.test('a store in Redis', async (t) => storeSuite(t, await open(t)))

t.test('what one process outdates is outdated for all that use the same Redis', async (t) => {
  const [one, two] = await Promise.all([open(t), open(t)])
  const before = await look(one!, 'shared', ['shared'])
  await one!.keep('shared', 'a', before, LIFE)
  t.equal(await textOf(two!, 'shared', ['shared']), 'a')
  t.equal(await two!.outdate(['shared']), true, 'nobody else must be told')
  t.equal(await textOf(one!, 'shared', ['shared']), undefined)
})

t.test('a version that Redis has evicted revives nothing', async (t) => {
  const store = await open(t)
  const before = await look(store, 'evicted', ['evicted'])
  await store.keep('evicted', 'old', before, LIFE)
  await store.outdate(['evicted'])
  t.equal(await admin.del('seam:cache:tag:evicted'), 1)
  t.equal(await textOf(store, 'evicted', ['evicted']), undefined)
  await store.keep('evicted', 'new', await look(store, 'evicted', ['evicted']), LIFE)
  t.equal(await textOf(store, 'evicted', ['evicted']), 'new')
})

t.test('an emptied Redis has nothing, and goes on', async (t) => {
  const store = await open(t)
  await store.keep('flush', 'a', await look(store, 'flush', ['flush']), LIFE)
  await server.flush()
  const found = await look(store, 'flush', ['flush'])
  t.equal(found.kept, undefined)
  await store.keep('flush', 'b', found, LIFE)
  t.equal(await textOf(store, 'flush', ['flush']), 'b')
})

t.test('all that is in Redis has an end', async (t) => {
  const store = await open(t)
  await server.flush()
  await store.keep('ends', 'a', await look(store, 'ends', ['ends', 'ends:1']), LIFE)
  await store.outdate(['ends:2'])
  const keys = await admin.keys('*')
  t.equal(keys.length, 4)
  for (const key of keys) {
    const left = await admin.ttl(key)
    t.ok(left > 0 && left <= 24 * 60 * 60, `${key}: ${left} s`)
  }
})

t.test('a Redis that hangs costs 50 ms, and then nothing for a second', async (t) => {
  const store = await open(t, { log })
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  let found: unknown
  const began = performance.now()
  const first = await timed(async () => (found = await store.look('hangs', ['hangs'])))
  t.equal(found, undefined)
  t.ok(first >= 45 && first < 500, `${first} ms`)
  let asked = 0
  // Who does not wait has an answer before the event loop's next turn.
  const isAtOnce = () => Promise.race([store.look('hangs', []).then(() => true), nextTurn(false)])
  while (await isAtOnce()) asked += Number(await nextTurn(true))
  const elapsed = performance.now() - began
  t.ok(elapsed >= 1045 && asked > 100, `the next one waited after ${elapsed} ms, until which ${asked} asked`)
})

t.test('then one tries, and the others do not wait for it', async (t) => {
  const store = await open(t, { log, pause: 100 })
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  await store.look('hangs', [])
  const order = await until('one that tries', async () => {
    const ended: number[] = []
    await Promise.all(Array.from({ length: 10 }, (_, n) => store.look(`hangs-${n}`, []).then(() => ended.push(n))))
    return ended[0] === 1 && ended
  })
  t.strictSame(order, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
})

t.test('what could not be outdated is outdated before anything is believed again', async (t) => {
  const [one, two] = await Promise.all([open(t, HASTY), open(t, HASTY)])
  for (const key of ['late', 'other']) await one!.keep(key, 'old', await look(one!, key, [key]), LIFE)
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  t.equal(await one!.outdate(['late']), false)
  await server.signal('SIGCONT')
  const found = await until('Redis', () => one!.look('late', ['late']))
  t.equal(found.kept, undefined)
  t.equal(await textOf(one!, 'other', ['other']), 'old', 'Redis has kept the rest')
  t.equal(await textOf(two!, 'late', ['late']), undefined, 'and others see it')
})

t.test('also what came to be owed while Redis was already being told the rest', async (t) => {
  const store = await open(t, { log, patience: 600, pause: 200 })
  for (const key of ['first', 'second']) await store.keep(key, 'old', await look(store, key, [key]), LIFE)
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  t.equal(await store.outdate(['first']), false)
  await sleep(300)
  // It tries to tell since 100 ms; for another 100 nobody else tries, and then anybody may for 100 more.
  t.equal(await store.outdate(['second']), false)
  await sleep(150)
  const looking = store.look('second', ['second'])
  await server.signal('SIGCONT')
  t.not((await looking)?.kept?.text, 'old')
})

t.test('also by a process that asks for nothing', async (t) => {
  const [idle, other] = await Promise.all([open(t, HASTY), open(t, HASTY)])
  await other!.keep('idle', 'old', await look(other!, 'idle', ['idle']), LIFE)
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  t.equal(await idle!.outdate(['idle']), false)
  const version = 'seam:cache:tag:idle'
  await server.signal('SIGCONT')
  // What Redis was sent before it was stopped it does now; this is what comes after it.
  const seen = await admin.set(version, 'as it was', 'EX', 60)
  t.equal(seen, 'OK')
  await until('the idle process', async () => (await admin.get(version)) !== 'as it was')
})

t.test('so many outdated tags are remembered; more are all of their modules', async (t) => {
  const store = await open(t, HASTY)
  for (const key of ['many:1', 'few:1'])
    await store.keep(key, 'old', await look(store, key, [key.split(':')[0]!, key]), LIFE)
  await server.signal('SIGSTOP')
  t.teardown(() => server.signal('SIGCONT'))
  for (let n = 2; n < 1_100; n++) await store.outdate([`many:${n}`])
  await server.signal('SIGCONT')
  const found = await until('Redis', () => store.look('many:1', ['many', 'many:1']))
  t.equal(found.kept, undefined)
  t.equal(await textOf(store, 'few:1', ['few', 'few:1']), 'old')
})

t.test('a Redis that is killed and comes back is used again', async (t) => {
  const store = await open(t)
  await server.signal('SIGKILL')
  t.equal(await store.look('killed', ['killed']), undefined)
  t.ok((await timed(() => store.look('killed', ['killed']))) < 20)
  t.equal(await store.outdate(['killed']), false)
  await server.start()
  const found = await until('Redis', () => store.look('killed', ['killed']))
  await store.keep('killed', 'a', found, LIFE)
  t.equal(await textOf(store, 'killed', ['killed']), 'a')
})

t.test('a store can be opened while Redis is away', async (t) => {
  await server.signal('SIGKILL')
  const store = new RedisStore(cacheRedis([server.url], log), { log, pause: 100 })
  t.teardown(() => store.close())
  t.equal(await store.look('away', []), undefined)
  await server.start()
  await until('Redis', () => store.look('away', []))
})
