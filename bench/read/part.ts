import { startApplication } from '../lib/application.ts'
import { startWorker, type Worker } from '../lib/children.ts'
import { databaseUrl, seedPosts } from '../lib/database.ts'
import type { Load, LoadResult } from '../lib/load.ts'
import { grouped } from '../lib/numbers.ts'
import { atLeast, headline, type Part, printTable } from '../lib/report.ts'
import { type Contender, inTurns, ratio, type Series } from '../lib/rounds.ts'

const CONNECTIONS = 64
/** As many connections to PostgreSQL as the application's module has. */
const POOL = 10

export const reads: Part = async ({ quick, rounds = quick ? 5 : 9 }) => {
  headline(
    'GET /api/posts/{id}',
    `The one-process application and a bare Fastify + postgres.js with the same query (prepared), schema and pool; ${CONNECTIONS} connections, 1000 posts in turn.`,
  )
  const DATABASE_URL = await databaseUrl()
  const quiet = await startApplication({ DATABASE_URL })
  const ids = await seedPosts(DATABASE_URL)
  const logging = await startApplication({ DATABASE_URL, LOG_LEVEL: 'info' })
  const collector = await startWorker('read/collector.ts')
  const OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${collector.ready.port}`
  const traced = await startApplication({ DATABASE_URL, OTEL_EXPORTER_OTLP_ENDPOINT })
  const bare = await startWorker('read/bare-server.ts', { databaseUrl: DATABASE_URL, pool: POOL })
  const barePort = bare.ready.port as number
  await compareAnswers(quiet.port, barePort, ids[0]!)

  const generator = await startLoad(ids)
  const series = await inTurns(
    [
      reader('bare Fastify + postgres.js', generator, barePort, quick),
      reader('application', generator, quiet.port, quick),
      reader('application, LOG_LEVEL=info', generator, logging.port, quick),
      reader('application, traces on', generator, traced.port, quick),
    ],
    { warmUps: 1, rounds },
  )
  await Promise.all([quiet, logging, traced, bare, generator, collector].map((each) => each.end()))
  printReads(series)
  return [
    atLeast('A read, against the bare server', 0.9, speed(series[1]!, series[0]!)),
    atLeast('A read with traces on, against one without', 0.9, speed(series[3]!, series[1]!)),
  ]
}

export const startLoad = (ids: readonly string[]): Promise<Worker> =>
  startWorker('lib/load.ts', { requests: ids.map((id) => ({ path: `/api/posts/${id}` })) })

export function reader(name: string, generator: Worker, port: number, quick: boolean): Contender<LoadResult> {
  const load: Load = { port, connections: CONNECTIONS, milliseconds: quick ? 2000 : 5000 }
  return { name, measure: () => generator.ask<LoadResult>(load) }
}

export const perSecond = (series: Series<LoadResult>): number => series.median((round) => round.perSecond)

export const speed = (one: Series<LoadResult>, other: Series<LoadResult>): number =>
  ratio(one, other, (round) => round.perSecond)

/** The first is what the others are compared with. */
export function printReads(series: readonly Series<LoadResult>[]): void {
  printTable([
    ['', 'requests/s', 'ratio', 'p99'],
    ...series.map((one) => [
      one.name,
      grouped(perSecond(one)),
      speed(one, series[0]!).toFixed(2),
      `${one.median((round) => round.p99).toFixed(1)} ms`,
    ]),
  ])
}

/** A comparison of servers that do not say the same would say nothing. */
async function compareAnswers(one: number, other: number, id: string): Promise<void> {
  const answers = [one, other].map((port) => fetch(`http://127.0.0.1:${port}/api/posts/${id}`).then((r) => r.text()))
  const [first, second] = await Promise.all(answers)
  if (first !== second) throw new Error(`The two servers answer differently:\n${first}\n${second}`)
}
