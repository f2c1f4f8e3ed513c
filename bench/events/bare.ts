// BullMQ by itself: jobs are added in bulk and processed by a function that does nothing.

import { createPostgresBackend, Queue, Worker, withBackend } from 'bullmq'
import { Redis } from 'ioredis'
import { serve } from '../lib/children.ts'

/** Jobs added at a time, and processed at the same time. */
const BULK = 200
const CONCURRENCY = 50

await serve<{ env: Record<string, string> }>(async ({ env }) => {
  let left = 0
  let done = () => {}
  const process = async () => {
    if (--left === 0) done()
  }
  const options = { removeOnComplete: true }
  const { queue, worker } = env.REDIS_URL ? onRedis(env.REDIS_URL) : onPostgres(env.DATABASE_URL!)
  queue.on('error', (error) => console.error(error))
  worker.on('error', (error) => console.error(error))
  await worker.waitUntilReady()
  return {
    async answer({ events }: { events: number }) {
      left = events
      const all = new Promise<void>((resolve) => (done = resolve))
      const began = performance.now()
      for (let first = 0; first < events; first += BULK) {
        const jobs = Array.from({ length: Math.min(BULK, events - first) }, (_, i) => ({
          name: 'thing.happened',
          data: { key: `key ${i}`, n: first + i },
          opts: options,
        }))
        await queue.addBulk(jobs)
      }
      await all
      return (events / (performance.now() - began)) * 1000
    },
  }

  function onRedis(url: string) {
    const connection = () => new Redis(url, { maxRetriesPerRequest: null })
    const queue = new Queue('bare', { connection: connection(), prefix: '{bare}' })
    return {
      queue,
      worker: new Worker('bare', process, { connection: connection(), prefix: '{bare}', concurrency: CONCURRENCY }),
    }
  }

  function onPostgres(url: string) {
    const on = withBackend(createPostgresBackend)
    const connection = { connectionString: url, max: 10 }
    return {
      queue: new on.Queue('bare', { connection }) as unknown as Queue,
      worker: new on.Worker('bare', process, { connection, concurrency: CONCURRENCY }) as unknown as Worker,
    }
  }
})
