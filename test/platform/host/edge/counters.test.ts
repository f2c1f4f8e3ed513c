import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { type Count, type Counted, countInMemory, countInRedis } from '../../../../src/platform/host/edge/counters.ts'
import { freshState } from '../../../support/topology.ts'

const state = await freshState('redis')
const redis = new Redis(state.env.REDIS_URL!, { enableOfflineQueue: false, lazyConnect: true })
await redis.connect()
t.teardown(async () => {
  redis.disconnect()
  await state.close()
})

const ask = (count: Count, key: string) => new Promise<Counted | undefined>((resolve) => count(key, resolve))
const places: Record<string, (window: number) => Count> = {
  'in memory': countInMemory,
  'in Redis': (window) => countInRedis(redis, window),
}

for (const [place, counting] of Object.entries(places)) {
  t.test(`keys are counted each for itself, in windows that end: ${place}`, async (t) => {
    const count = counting(400)
    const key = `${place} a`
    t.strictSame(await ask(count, key), { count: 1, left: 1 })
    t.strictSame(await ask(count, key), { count: 2, left: 1 })
    t.strictSame(await ask(count, `${place} b`), { count: 1, left: 1 })
    await sleep(500)
    t.strictSame(await ask(count, key), { count: 1, left: 1 })
  })

  t.test(`what remains of a window is told in whole seconds: ${place}`, async (t) => {
    t.strictSame(await ask(counting(59_500), `${place} c`), { count: 1, left: 60 })
  })
}

t.test('a window ends when it was to, however often its key is counted', async (t) => {
  const count = countInRedis(redis, 300)
  for (let n = 0; n < 6; n++) {
    await ask(count, 'often')
    await sleep(70)
  }
  t.ok((await ask(count, 'often'))!.count < 7)
})

t.test('in memory the answer comes at once', (t) => {
  let counted: Counted | undefined
  countInMemory(1000)('a', (found) => (counted = found))
  t.equal(counted?.count, 1)
  t.end()
})

t.test('a Redis that is away counts nothing, and says so', async (t) => {
  const away = new Redis({ port: 1, enableOfflineQueue: false, lazyConnect: true, retryStrategy: () => null })
  away.on('error', () => {})
  t.equal(await ask(countInRedis(away, 1000), 'a'), undefined)
  away.disconnect()
})
