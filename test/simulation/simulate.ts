import postgres from 'postgres'
import { freshState } from '../support/topology.ts'
import { wrongEffects } from './effects.ts'
import { provideTables, simulatedModules } from './modules.ts'
import { Processes } from './processes.ts'
import { inWords, type Scenario, scenarioOf } from './scenario.ts'
import { Workload } from './workload.ts'

export interface Round {
  readonly violations: readonly string[]
  readonly answered: number
  readonly givenUp: number
  /** What was done, and what came of it, in a line. */
  readonly summary: string
}

/** A database on which rounds are run one after the other. */
export interface Simulation {
  /** The round of a seed. */
  round(seed: number): Promise<Round>
  /** @param options see {@link simulatedModules} */
  run(scenario: Scenario, options?: { once: boolean }): Promise<Round>
  close(): Promise<void>
}

export async function openSimulation(): Promise<Simulation> {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  const url = state.env.DATABASE_URL!
  await provideTables(url)
  const sql = postgres(url, { max: 1, onnotice: () => {} })

  const run = async (scenario: Scenario, options = { once: true }): Promise<Round> => {
    await sql`truncate ledger.entries, ledger.idempotency_keys, broker.moves, broker.idempotency_keys`
    const { catalogue, clients } = simulatedModules(options)
    const processes = new Processes(catalogue)
    let workload: Workload
    try {
      await processes.start(scenario, state.env)
      workload = new Workload(clients(), scenario, (mishap) => processes.suffer(mishap))
      await workload.run()
    } finally {
      // What nobody waits for any more may still be under way: it has its effect now or never.
      await processes.close()
    }
    const { outcomes } = workload
    const answered = outcomes.filter(({ answer }) => answer !== undefined).length
    const givenUp = outcomes.length - answered
    const failures = Object.entries(workload.failures).map(([code, count]) => `${count} ${code}`)
    return {
      violations: [...workload.violations, ...(await wrongEffects(sql, outcomes))],
      answered,
      givenUp,
      summary: `${inWords(scenario)}: ${answered} answered, ${givenUp} given up (attempts: ${failures.join(', ') || 'none failed'})`,
    }
  }
  return {
    run,
    round: (seed) => run(scenarioOf(seed)),
    async close() {
      await sql.end()
      await state.close()
    },
  }
}
