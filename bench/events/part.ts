import { freshDatabase } from '../../test/support/database.ts'
import { redisServer } from '../../test/support/redis-server.ts'
import { startWorker, type Worker } from '../lib/children.ts'
import { databaseUrl } from '../lib/database.ts'
import { grouped } from '../lib/numbers.ts'
import { atLeast, atMost, headline, type Part, printTable, type Settings, type Verdict } from '../lib/report.ts'
import { inTurns, ratio } from '../lib/rounds.ts'
import type { Latency } from './seam.ts'

export const events: Part = async (settings) => {
  process.env.TEST_DATABASE_URL ??= await databaseUrl()
  const redis = await redisServer()
  await redis.start()
  try {
    return [
      ...(await drains('Redis', redis.url, settings)),
      ...(await drains('PostgreSQL', undefined, settings)),
      ...(await writes(settings)),
    ]
  } finally {
    await redis.signal('SIGKILL')
  }
}

/** Programs with a database of their own. */
async function withWorkers<T>(programs: { file: string; options: object }[], use: (workers: Worker[]) => Promise<T>) {
  const database = await freshDatabase()
  const started: Worker[] = []
  try {
    for (const { file, options } of programs) {
      const { env, ...rest } = options as { env: object }
      started.push(await startWorker(file, { ...rest, env: { DATABASE_URL: database.url, ...env } }))
    }
    return await use(started)
  } finally {
    await Promise.all(started.map((worker) => worker.end()))
    await database.close()
  }
}

const NAMES = ['bare BullMQ', 'seam', 'seam, whose handler writes a row'] as const

function drains(queue: 'Redis' | 'PostgreSQL', redis: string | undefined, { quick, rounds = quick ? 3 : 7 }: Settings) {
  headline(
    `Events, the queue on ${queue}`,
    'From the commit to the handler, through outbox, relay, queue and inbox; beside it, jobs added and processed by BullMQ alone.',
  )
  const events = queue === 'Redis' ? 10_000 : 4_000
  /** Queues of the same name would be one queue. */
  const envOf = (database: number) => ({ REDIS_URL: redis ? `${redis}/${database}` : '' })
  const programs = [
    // It makes the queue's tables too.
    { file: 'events/seam.ts', options: { env: envOf(1), writes: false } },
    { file: 'events/bare.ts', options: { env: envOf(2) } },
    { file: 'events/seam.ts', options: { env: envOf(3), writes: true } },
  ]
  return withWorkers(programs.slice(0, 2), ([seam, bare]) =>
    withWorkers(programs.slice(2), async ([writing]) => {
      const contenders = [bare!, seam!, writing!].map((worker, i) => ({
        name: NAMES[i]!,
        measure: () => worker.ask<number>({ ask: 'drain', events }),
      }))
      const series = await inTurns(contenders, { warmUps: 2, rounds })
      const number = (perSecond: number) => perSecond
      printTable([
        ['', 'events/s', 'of bare BullMQ'],
        ...series.map((one) => [one.name, grouped(one.median(number)), ratio(one, series[0]!, number).toFixed(2)]),
      ])
      const latency = (events: number) => seam!.ask<Latency>({ ask: 'latency', events })
      // Events that come one by one take another way through the code, which is cold.
      await latency(quick ? 200 : 500)
      const { p50, p99 } = await latency(quick ? 200 : 1_000)
      console.log(`\n  one after the other, commit to handler: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`)
      if (queue !== 'Redis') return []
      return [
        atLeast('Events on Redis, of bare BullMQ', 1, ratio(series[1]!, series[0]!, number)),
        atMost('Commit to handler on Redis, p50', 4, p50, 'ms'),
        atMost('Commit to handler on Redis, p99', 10, p99, 'ms'),
      ]
    }),
  )
}

const WAYS = ['alone', 'with its event', 'in a transaction'] as const

function writes({ quick, rounds = quick ? 5 : 11 }: Settings): Promise<Verdict[]> {
  headline(
    'A write and its event',
    'One row, 32 writers: alone, in one statement with its event, in a transaction with it.',
  )
  return withWorkers([{ file: 'events/seam.ts', options: { env: {}, writes: false } }], async ([seam]) => {
    const contenders = WAYS.map((how) => ({
      name: how,
      measure: () => seam!.ask<number>({ ask: 'write', how, milliseconds: quick ? 500 : 1_000 }),
    }))
    const series = await inTurns(contenders, { warmUps: 2, rounds })
    const number = (perSecond: number) => perSecond
    printTable([
      ['', 'writes/s', 'of the write alone'],
      ...series.map((one) => [one.name, grouped(one.median(number)), ratio(one, series[0]!, number).toFixed(2)]),
    ])
    return [atLeast('A write with its event, of the write alone', 0.8, ratio(series[1]!, series[0]!, number))]
  })
}
