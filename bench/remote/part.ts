import { randomBytes } from 'node:crypto'
import { startWorker } from '../lib/children.ts'
import type { DriveResult } from '../lib/drive.ts'
import { grouped } from '../lib/numbers.ts'
import { atLeast, headline, type Part, printTable } from '../lib/report.ts'
import { inTurns, ratio } from '../lib/rounds.ts'

/** As many as the adapter has connections to one instance. */
const IN_FLIGHT = 64
const NAMES = ['bare', 'seam', 'seam, for a user'] as const

export const remoteCalls: Part = async ({ quick, rounds = quick ? 7 : 11 }) => {
  headline(
    'A remote call',
    `Through the http adapter (token, deadline, checks on both sides), and a bare undici request to a bare Fastify route with schemas; ${IN_FLIGHT} in flight.`,
  )
  const secret = randomBytes(32).toString('hex')
  const servers = {
    seam: await startWorker('remote/seam-server.ts', { secret }),
    bare: await startWorker('remote/bare-server.ts'),
  }
  const callers = await Promise.all(
    NAMES.map(async (name) => {
      const { url } = (name === 'bare' ? servers.bare : servers.seam).ready
      return { name, worker: await startWorker('remote/caller.ts', { name, url, secret, connections: IN_FLIGHT }) }
    }),
  )
  const milliseconds = quick ? 1000 : 2000
  const series = await inTurns(
    callers.map(({ name, worker }) => ({
      name,
      measure: () => worker.ask<DriveResult>({ mode: 'flight', size: IN_FLIGHT, milliseconds }),
    })),
    { warmUps: 2, rounds },
  )
  await Promise.all([servers.seam, servers.bare, ...callers.map(({ worker }) => worker)].map((each) => each.end()))

  const speed = (i: number) => ratio(series[i]!, series[0]!, (round) => round.perSecond)
  printTable([
    ['', 'calls/s', 'ratio'],
    ...NAMES.map((name, i) => [name, grouped(series[i]!.median((round) => round.perSecond)), speed(i).toFixed(2)]),
  ])
  return [atLeast('A remote call, against a bare request', 0.9, speed(1))]
}
