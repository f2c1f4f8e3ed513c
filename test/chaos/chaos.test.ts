import t from 'tap'
import { runChaos } from './run.ts'

// The short form of `npm run chaos`. A run that failed is repeated with the seed that it printed, in CHAOS_SEED.
const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)

// Events have three minutes to come to rest.
t.setTimeout(580_000)

t.test(`no event is lost, doubled or out of order while everything breaks (CHAOS_SEED=${seed})`, async (t) => {
  const run = { seed, queue: 'redis', events: 100, faults: 9, long: false } as const
  const { wrong, summary } = await runChaos(run, (line) => t.comment(line))
  t.comment(summary)
  t.strictSame(wrong, [], `npm run chaos -- --short --faults 9 --events 100 --queue redis --seed ${seed}`)
})
