import t from 'tap'
import { fuzz } from './fuzz.ts'

// The short form of `npm run fuzz`. A run that failed is repeated with the seed that it printed, in FUZZ_SEED.
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000)
t.setTimeout(400_000)

t.test(`nothing that anybody sends does harm (FUZZ_SEED=${seed})`, async (t) => {
  t.setTimeout(400_000)
  await fuzz(t, { requests: 500, seed, report: (line) => t.comment(line) })
})
