import { settled } from '../../test/support/published.ts'
import { startWorker, type Worker } from '../lib/children.ts'
import { databaseUrl } from '../lib/database.ts'
import type { Load, LoadResult } from '../lib/load.ts'
import { grouped } from '../lib/numbers.ts'
import { headline, type Part, printTable, type Settings } from '../lib/report.ts'
import { inTurns, type Series } from '../lib/rounds.ts'
import { type Kind, prepare } from './requests.ts'
import { infoOf, startMonolith, startSplit, type Topology } from './topologies.ts'
import { cpuOf, memoryOf } from './usage.ts'

/** How busy a core may be on average: the rest is for peaks, and for what a lost machine was doing. */
const UTILISATION = 0.6
const MODULES = ['users', 'posts', 'notifications']
const RATES = [1_000, 10_000, 100_000]

/** Microseconds of processor time for a request, by process. */
type Cost = ReadonlyMap<string, number>

export const capacity: Part = async (settings) => {
  if (process.platform !== 'linux') {
    headline(
      'Capacity',
      'Not measured: what other processes take of the processor is read from /proc, which only Linux has.',
    )
    return []
  }
  process.env.TEST_DATABASE_URL = await databaseUrl()
  for (const start of [startMonolith, startSplit]) {
    const topology = await start()
    try {
      await measure(topology, settings)
    } finally {
      await topology.end()
    }
  }
  return []
}

async function measure(topology: Topology, { quick, rounds = quick ? 1 : 3 }: Settings): Promise<void> {
  const kinds = await prepare(topology)
  const generators = await Promise.all(kinds.map(({ requests }) => startWorker('lib/load.ts', { requests })))
  const series = await inTurns(
    kinds.map((kind, i) => ({ name: kind.name, measure: () => costOf(topology, generators[i]!, kind) })),
    { warmUps: 1, rounds },
  )
  await Promise.all(generators.map((generator) => generator.end()))
  print(topology, kinds, series)
  await printAtRest(topology)
}

async function costOf(
  { port, sql, processes }: Topology,
  generator: Worker,
  { count, connections }: Kind,
): Promise<Cost> {
  const rest = () => settled(sql, ...MODULES)
  await rest()
  const before = new Map([...processes].map(([name, pid]) => [name, cpuOf(pid)]))
  const load: Load = { port, connections, milliseconds: 60_000, requests: count }
  const sent = await generator.ask<LoadResult>(load)
  await rest()
  return new Map([...processes].map(([name, pid]) => [name, (cpuOf(pid) - before.get(name)!) / sent.requests]))
}

function print({ name, processes }: Topology, kinds: readonly Kind[], series: readonly Series<Cost>[]): void {
  const names = [...processes.keys()]
  const costs = series.map((one) => names.map((name) => one.median((cost) => cost.get(name)!)))
  const mix = names.map((_, column) => sum(kinds.map(({ share }, row) => share * costs[row]![column]!)))
  const row = (what: string, share: number, values: readonly number[]) => {
    return [what, `${Number((share * 100).toFixed(1))} %`, ...values.map(grouped), grouped(sum(values))]
  }
  headline(
    `Capacity: ${name}`,
    `Microseconds of processor time for a request, with all that its events take. LOG_LEVEL=info; 32 connections read, 4 write.`,
  )
  printTable([
    ['', 'of all', ...names, 'together'],
    ...kinds.map(({ name, share }, i) => row(name, share, costs[i]!)),
    row('all, in this mix', 1, mix),
  ])
  console.log(`\n  Cores for so many requests a second of this mix, each ${UTILISATION * 100} % busy:\n`)
  const cores = (rate: number) => mix.map((cost) => ((rate * cost) / (1e6 * UTILISATION)).toFixed(1))
  printTable([['', ...names], ...RATES.map((rate) => [grouped(rate), ...cores(rate)])])
}

async function printAtRest({ sql, redisUrl, processes }: Topology): Promise<void> {
  const memory = [...processes.values()].map((pid) => `${Math.round(memoryOf(pid))} MB`)
  const [postgres] = await sql`
    select count(*) from pg_stat_activity where datname = current_database() and application_name like 'seam%'`
  const clients = Number(/connected_clients:(\d+)/.exec(await infoOf(redisUrl, 'clients'))![1]) - 1
  console.log('\n  Resident memory after all that:\n')
  printTable([[...processes.keys()], memory])
  console.log(`\n  Connections: ${postgres!.count} to PostgreSQL, ${clients} to Redis.`)
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
