import { Redis } from 'ioredis'
import { provideRedis } from '../../scripts/redis.ts'

/** A Redis database of the test's own on a real server, emptied before and after. */
export interface TestRedis {
  url: string
  close(): Promise<void>
}

/** Takes the next of the server's databases, on `REDIS_URL` or, for a test file that is run by itself, on a server started for it. */
export async function freshRedis(): Promise<TestRedis> {
  const server = process.env.REDIS_URL ? undefined : await provideRedis()
  const url = new URL(server?.url ?? process.env.REDIS_URL!)
  url.pathname = '/0'
  const counter = new Redis(url.href)
  const databases = Number(((await counter.config('GET', 'databases')) as string[])[1])
  const turn = await counter.incr('seam:test:turn')
  counter.disconnect()
  url.pathname = `/${1 + (turn % (databases - 1))}`
  const empty = async () => {
    const redis = new Redis(url.href)
    await redis.flushdb()
    redis.disconnect()
  }
  await empty()
  return {
    url: url.href,
    async close() {
      await empty()
      await server?.close()
    },
  }
}
