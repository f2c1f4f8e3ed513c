// `npm run bench`: what Seam costs, side by side with the same thing done bare. See bench/README.md.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { capacity } from './capacity/part.ts'
import { events } from './events/part.ts'
import { gatewayHops } from './gateway/part.ts'
import { endAll } from './lib/children.ts'
import { closeDatabase } from './lib/database.ts'
import { headline, type Part, printTable, type Verdict } from './lib/report.ts'
import { localCalls } from './local/part.ts'
import { reads } from './read/part.ts'
import { sustainedReads } from './read/sustained.ts'
import { remoteCalls } from './remote/part.ts'
import { starts } from './start/part.ts'

const PARTS: Record<string, Part> = {
  local: localCalls,
  remote: remoteCalls,
  gateway: gatewayHops,
  read: reads,
  events,
  start: starts,
  sustained: sustainedReads,
  capacity,
}
/** For the planning of machines, not for targets: it runs only when it is named. */
const ON_DEMAND = ['capacity']

const USAGE = `npm run bench -- [--quick] [--only <part>]… [--rounds <n>]

  --quick        fewer and shorter rounds, without "sustained": about 2 minutes instead of 10
  --only <part>  ${Object.keys(PARTS).join(', ')}; may be given several times; without it, all but ${ON_DEMAND.join(', ')}
  --rounds <n>   how many rounds are measured, instead of each part's own number`

const { values, problem } = options()
if (values.help || problem) {
  console.log(problem ? `${problem}\n\n${USAGE}` : USAGE)
  process.exit(problem ? 1 : 0)
}
installDependencies()

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void end().then(() => process.exit(1)))
const verdicts: Verdict[] = []
const unasked = values.quick ? [...ON_DEMAND, 'sustained'] : ON_DEMAND
const names = values.only ?? Object.keys(PARTS).filter((name) => !unasked.includes(name))
try {
  console.log(machine())
  for (const name of names) {
    verdicts.push(
      ...(await PARTS[name]!({ quick: values.quick, rounds: values.rounds ? Number(values.rounds) : undefined })),
    )
  }
} finally {
  await end()
}
if (verdicts.length > 0) {
  headline('Targets', machine())
  printTable([
    ['', 'target', 'reached', ''],
    ...verdicts.map(({ what, target, reached, met }) => [what, target, reached, met ? 'met' : 'MISSED']),
  ])
}

function options() {
  const options = {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    help: { type: 'boolean', default: false },
  } as const
  try {
    const { values } = parseArgs({ options })
    const unknown = values.only?.find((name) => !(name in PARTS))
    if (unknown) return { values, problem: `There is no part "${unknown}".` }
    if (values.rounds && !/^[1-9]\d{0,2}$/.test(values.rounds)) return { values, problem: '--rounds takes a number.' }
    return { values, problem: undefined }
  } catch (error) {
    return { values: { help: false, quick: false } as never, problem: (error as Error).message }
  }
}

/** Its own dependencies are pinned in its own lock file, so that the application never carries them. */
function installDependencies(): void {
  const folder = import.meta.dirname
  if (existsSync(join(folder, 'node_modules/moleculer'))) return
  console.log('Installing what only the benchmark needs, once …')
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder, stdio: 'inherit' })
  if (status !== 0) throw new Error('npm ci in bench/ has failed.')
}

function machine(): string {
  const [load] = loadavg()
  const cores = availableParallelism()
  return `Node ${process.version}, ${cores} cores (${cpus()[0]?.model ?? 'unknown'}), ${process.platform}, load ${load!.toFixed(1)}. All processes share the cores: ratios count, not numbers.`
}

async function end(): Promise<void> {
  await endAll()
  await closeDatabase()
}
