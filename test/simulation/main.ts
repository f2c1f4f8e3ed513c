// `npm run simulate -- --rounds 100 --seed 1`: the long form of simulation.test.ts. Each round has the next seed.
import { parseArgs } from 'node:util'
import { openSimulation } from './simulate.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const first = Number(values.seed)
const simulation = await openSimulation()
try {
  for (let seed = first; seed < first + Number(values.rounds); seed++) {
    const { summary, violations } = await simulation.round(seed)
    console.log(`seed ${seed}: ${summary}`)
    for (const violation of violations) console.log(`  WRONG: ${violation}`)
    if (violations.length === 0) continue
    console.log(`It is repeated by: npm run simulate -- --seed ${seed} --rounds 1`)
    process.exitCode = 1
  }
} finally {
  await simulation.close()
}
