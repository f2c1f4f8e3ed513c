import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Started, startApplication, startBareFastify } from '../lib/application.ts'
import { databaseUrl } from '../lib/database.ts'
import { atMost, headline, type Part, printTable } from '../lib/report.ts'
import { type Contender, inTurns } from '../lib/rounds.ts'

interface Start {
  readonly milliseconds: number
  readonly megabytes: number
}

export const starts: Part = async ({ quick, rounds = quick ? 3 : 7 }) => {
  headline(
    'Start and memory',
    'From the start of the process to the first 200 of /readyz, with the database running; resident memory 3 s later, before any request.',
  )
  const DATABASE_URL = await databaseUrl()
  const [seam, bare] = await inTurns(
    [contender('application', () => startApplication({ DATABASE_URL })), contender('bare Fastify', startBareFastify)],
    { warmUps: 1, rounds },
  )
  const row = (series: typeof seam) => [
    series!.name,
    `${Math.round(series!.median((start) => start.milliseconds))} ms`,
    `${Math.round(series!.median((start) => start.megabytes))} MB`,
  ]
  printTable([['', 'ready after', 'memory at rest'], row(seam), row(bare)])
  return [
    atMost(
      'Ready',
      1000,
      seam!.median((start) => start.milliseconds),
      'ms',
    ),
    atMost(
      'Memory at rest',
      150,
      seam!.median((start) => start.megabytes),
      'MB',
    ),
  ]
}

function contender(name: string, start: () => Promise<Started>): Contender<Start> {
  return {
    name,
    async measure() {
      const { pid, startedIn, end } = await start()
      await sleep(3000)
      const kilobytes = Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }))
      await end()
      return { milliseconds: startedIn, megabytes: kilobytes / 1024 }
    },
  }
}
