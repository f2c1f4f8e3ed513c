import { randomBytes } from 'node:crypto'
import { startWorker } from '../lib/children.ts'
import type { Drive, DriveResult } from '../lib/drive.ts'
import { grouped } from '../lib/numbers.ts'
import { atLeast, atMost, headline, type Part, printTable } from '../lib/report.ts'
import { inTurns, ratio, type Series } from '../lib/rounds.ts'

const IN_FLIGHT = 64

/** Each with the server that it calls. */
const CONTENDERS = {
  bare: 'bare',
  seam: 'seam',
  'seam, without policies': 'seam',
  'seam, for a user': 'seam',
  'moleculer, TCP': 'moleculer',
  'grpc-js, unary': 'grpc',
} as const
const NAMES = Object.keys(CONTENDERS) as (keyof typeof CONTENDERS)[]

interface Round extends DriveResult {
  /** Of the processor's time that both sides took for a call, in microseconds. */
  readonly cpu: number
}

export const remoteCalls: Part = async ({ quick, rounds = quick ? 7 : 11 }) => {
  headline(
    'A remote call',
    `Through the http adapter (token, deadline, checks on both sides); a bare undici request to a bare Fastify route with schemas; Moleculer over TCP; @grpc/grpc-js. ${IN_FLIGHT} in flight, and one after the other.`,
  )
  const secret = randomBytes(32).toString('hex')
  const servers = {
    bare: await startWorker('remote/bare-server.ts'),
    seam: await startWorker('remote/seam-server.ts', { secret }),
    moleculer: await startWorker('remote/moleculer-server.ts'),
    grpc: await startWorker('remote/grpc-server.ts'),
  }
  const callers = await Promise.all(
    NAMES.map(async (name) => {
      const server = servers[CONTENDERS[name]]
      const options = { ...server.ready, name, secret, connections: IN_FLIGHT }
      return { name, server, worker: await startWorker('remote/caller.ts', options) }
    }),
  )
  const milliseconds = quick ? 1000 : 2000
  const measured = (how: Drive) =>
    inTurns(
      callers.map(({ name, server, worker }) => ({
        name,
        async measure(): Promise<Round> {
          const both = async () => (await worker.cpu()) + (await server.cpu())
          const before = await both()
          const result = await worker.ask<DriveResult>(how)
          return { ...result, cpu: ((await both()) - before) / result.calls }
        },
      })),
      { warmUps: 2, rounds },
    )
  const atOnce = await measured({ mode: 'flight', size: IN_FLIGHT, milliseconds })
  const inTurn = await measured({ mode: 'sequence', milliseconds: milliseconds / 2 })
  await Promise.all([...Object.values(servers), ...callers.map(({ worker }) => worker)].map((each) => each.end()))

  type Name = keyof typeof CONTENDERS
  const compared = (series: Series<Round>[], one: Name, other: Name, number: (round: Round) => number) =>
    ratio(series[NAMES.indexOf(one)]!, series[NAMES.indexOf(other)]!, number)
  const speed = (series: Series<Round>[], one: Name, other: Name) =>
    compared(series, one, other, (round) => round.perSecond)
  const ofPolicies = 100 * (1 - compared(atOnce, 'seam, without policies', 'seam', (round) => round.cpu))
  const columns = (series: Series<Round>[], i: number) => [
    grouped(series[i]!.median((round) => round.perSecond)),
    speed(series, NAMES[i]!, 'bare').toFixed(2),
    series[i]!.median((round) => round.cpu).toFixed(1),
  ]
  printTable([
    ['', `${IN_FLIGHT} in flight: calls/s`, 'of bare', 'CPU µs', 'in turn: calls/s', 'of bare', 'CPU µs'],
    ...NAMES.map((name, i) => [name, ...columns(atOnce, i), ...columns(inTurn, i)]),
  ])
  return [
    atLeast('Remote calls, many at once, against bare requests', 5, speed(atOnce, 'seam', 'bare')),
    atLeast('Remote calls, many at once, against Moleculer over TCP', 2, speed(atOnce, 'seam', 'moleculer, TCP')),
    atLeast('Remote calls in turn, against bare requests', 0.95, speed(inTurn, 'seam', 'bare')),
    atLeast(
      'Remote calls in turn, against those without policies',
      0.85,
      speed(inTurn, 'seam', 'seam, without policies'),
    ),
    atMost("Of a remote call's processor time, many at once, for policies", 15, ofPolicies, '%'),
  ]
}
