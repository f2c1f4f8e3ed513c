import { startWorker } from '../lib/children.ts'
import type { Drive, DriveResult } from '../lib/drive.ts'
import { atMost, headline, type Part, printTable } from '../lib/report.ts'
import { inTurns } from '../lib/rounds.ts'

const NAMES = ['plain', 'seam', 'seam, a new request for each call', 'moleculer', 'moleculer, with metrics'] as const

export const localCalls: Part = async ({ quick, rounds = quick ? 7 : 15 }) => {
  headline(
    'A local call',
    'ns for each call: a small input with a UUID is checked, the deadline kept, the call counted and timed; the handler returns a constant.',
  )
  const milliseconds = quick ? 200 : 400
  const workers = await Promise.all(
    NAMES.map(async (name) => ({ name, worker: await startWorker('local/caller.ts', { name }) })),
  )
  const series = (how: Drive) =>
    inTurns(
      workers.map(({ name, worker }) => ({ name, measure: () => worker.ask<DriveResult>(how) })),
      { warmUps: 3, rounds },
    )
  const inSequence = await series({ mode: 'sequence', milliseconds })
  const inBatches = await series({ mode: 'batches', milliseconds })
  await Promise.all(workers.map(({ worker }) => worker.end()))

  const ns = NAMES.map((name, i) => ({
    name,
    sequence: inSequence[i]!.median((round) => round.nanoseconds),
    batches: inBatches[i]!.median((round) => round.nanoseconds),
  }))
  const moleculer = ns.find(({ name }) => name === 'moleculer')!
  printTable([
    ['', 'one by one', 'of Moleculer', '64 at once', 'of Moleculer'],
    ...ns.map(({ name, sequence, batches }) => [
      name,
      `${Math.round(sequence)} ns`,
      (sequence / moleculer.sequence).toFixed(2),
      `${Math.round(batches)} ns`,
      (batches / moleculer.batches).toFixed(2),
    ]),
  ])
  const seam = ns.find(({ name }) => name === 'seam')!
  return [
    atMost('A local call', 300, seam.sequence, 'ns'),
    {
      what: 'A local call, against Moleculer',
      target: '< 1.00',
      reached: (seam.sequence / moleculer.sequence).toFixed(2),
      met: seam.sequence < moleculer.sequence,
    },
  ]
}
