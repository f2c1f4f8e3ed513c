import { startWorker } from '../lib/children.ts'
import type { Drive, DriveResult } from '../lib/drive.ts'
import { atMost, headline, type Part, printTable } from '../lib/report.ts'
import { inTurns, ratio } from '../lib/rounds.ts'

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

  const moleculer = NAMES.indexOf('moleculer')
  const nanoseconds = (round: DriveResult) => round.nanoseconds
  const columns = (all: typeof inSequence, i: number) => [
    `${Math.round(all[i]!.median(nanoseconds))} ns`,
    ratio(all[i]!, all[moleculer]!, nanoseconds).toFixed(2),
  ]
  printTable([
    ['', 'one by one', 'of Moleculer', '64 at once', 'of Moleculer'],
    ...NAMES.map((name, i) => [name, ...columns(inSequence, i), ...columns(inBatches, i)]),
  ])
  const seam = inSequence[NAMES.indexOf('seam')]!
  const share = ratio(seam, inSequence[moleculer]!, nanoseconds)
  return [
    atMost('A local call', 300, seam.median(nanoseconds), 'ns'),
    { what: 'A local call, against Moleculer', target: '< 1.00', reached: share.toFixed(2), met: share < 1 },
  ]
}
