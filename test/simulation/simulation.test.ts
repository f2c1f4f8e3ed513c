import t from 'tap'
import { type Scenario, scenarioOf } from './scenario.ts'
import { openSimulation } from './simulate.ts'

// The short form of `npm run simulate`. A round that failed is repeated with the seed that it printed, in SIMULATION_SEED.
const first = Number(process.env.SIMULATION_SEED ?? Date.now() % 1_000_000)
const ROUNDS = 2

const simulation = await openSimulation()
t.teardown(() => simulation.close())

let answers = 0

for (let seed = first; seed < first + ROUNDS; seed++) {
  t.test(`no effect is lost or doubled, and every call ends in time (SIMULATION_SEED=${seed})`, async (t) => {
    const { violations, summary, answered } = await simulation.round(seed)
    t.comment(summary)
    t.strictSame(violations, [], `npm run simulate -- --seed ${seed} --rounds 1`)
    answers += answered
  })
}

t.test('faults leave something to look at', async (t) => {
  t.ok(answers > 0, `${answers} commands were answered`)
})

t.test('a ledger that does not do its work once is found out', async (t) => {
  const scenario: Scenario = {
    ...scenarioOf(1),
    outside: ['ledger'],
    rpc: 'http',
    faults: ['ledger.add:drop-answer@0.3'],
    mishaps: [],
  }
  const { violations } = await simulation.run(scenario, { once: false })
  t.match(violations.join('\n'), /took effect [2-9] times/)
})

t.test('a seed is always the same scenario', async (t) => {
  t.strictSame(scenarioOf(first), scenarioOf(first))
  t.notSame(scenarioOf(first), scenarioOf(first + 1))
})
