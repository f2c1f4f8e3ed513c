// `npm run chaos -- --seed 1 --queue redis`: the long form of chaos.test.ts, on both kinds of queues unless one is named.
import { parseArgs } from 'node:util'
import { runChaos } from './run.ts'
import type { Queue } from './world.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    queue: { type: 'string' },
    events: { type: 'string', default: '10000' },
    faults: { type: 'string', default: '50' },
    short: { type: 'boolean', default: false },
  },
})
const seed = Number(values.seed)
for (const queue of (values.queue ? [values.queue] : ['redis', 'postgres']) as Queue[]) {
  console.log(`npm run chaos -- --seed ${seed} --queue ${queue}`)
  const run = { seed, queue, events: Number(values.events), faults: Number(values.faults), long: !values.short }
  const { wrong, summary } = await runChaos(run, console.log)
  console.log(summary)
  for (const line of wrong) console.log(`  WRONG: ${line}`)
  if (wrong.length > 0) process.exitCode = 1
}
