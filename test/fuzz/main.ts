// `npm run fuzz -- --requests 20000 --seed 1`: the long form of fuzz.test.ts; `--gateway` puts a gateway before the modules.
// What a failure says to be replayed with (`--kind`, `--seed`, `--path`) sends that one request, and smaller ones.

import { parseArgs } from 'node:util'
import t from 'tap'
import { catalogue } from '../../src/modules/catalogue.ts'
import { fuzz } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    gateway: { type: 'boolean', default: false },
    kind: { type: 'string' },
    path: { type: 'string', default: '0' },
  },
})
const seed = Number(values.seed)

t.setTimeout(1_200_000)
t.test(`nothing that anybody sends does harm (seed ${seed})`, async (t) => {
  t.setTimeout(1_200_000)
  await fuzz(t, {
    requests: Number(values.requests),
    seed,
    outside: values.gateway ? catalogue.map(({ contract }) => contract.name) : [],
    only: values.kind ? { kind: values.kind, seed, path: values.path } : undefined,
    report: (line) => console.log(line),
  })
})
