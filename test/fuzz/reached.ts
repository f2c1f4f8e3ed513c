import fc, { type Arbitrary } from 'fast-check'
import pLimit from 'p-limit'
import { catalogue } from '../../src/modules/catalogue.ts'
import type { Operation, Plan } from './requests.ts'
import type { Run } from './run.ts'
import { AT_ONCE } from './sending.ts'

/** All operations are asked so often before the run: there should be more than one of everything. */
const TURNS = 4

/** Where people sign out and are deleted: whoever asks for that has nothing of their own for long. */
const SIGN_IN = catalogue.find(({ signsIn }) => signsIn)?.contract.name

/**
 * Sends valid requests without conditions to all operations, as a member and as an admin in turn, so that there is
 * something of everything. What removes things comes last.
 */
export async function warmUp(run: Run, valid: ReadonlyMap<Operation, Arbitrary<Plan>>, seed: number): Promise<void> {
  const all = [...valid.keys()]
  const removals = all.filter(({ method }) => method === 'DELETE')
  const reads = all.filter(({ method }) => method === 'GET')
  const changes = all.filter((operation) => !removals.includes(operation) && !reads.includes(operation))
  for (let turn = 0; turn < TURNS; turn++) {
    const ask = async (operation: Operation) => {
      const [plan] = fc.sample(valid.get(operation)!, { seed: seed + turn, numRuns: 1 })
      const n = operation.module === SIGN_IN ? 0 : 1
      await run.ask(operation, {
        ...plan!,
        headers: {},
        caller: { role: turn % 2 ? 'admin' : 'member', n, cookie: false },
      })
    }
    await pLimit(AT_ONCE).map(changes, ask)
    await pLimit(AT_ONCE).map(reads, ask)
    for (const operation of removals) await ask(operation)
  }
}

/** Operations that no request has got through to. */
export const unreached = (run: Run, operations: readonly Operation[]): string[] =>
  operations
    .map(({ name }) => name)
    .filter((name) => !statusesOf(run, name).some((status) => status >= 200 && status < 400))

/** Operations that have refused nothing, though they may: what was sent to them was too tame. */
export const unrefusing = (run: Run, operations: readonly Operation[]): string[] =>
  operations
    .filter(({ statuses }) => statuses.some((status) => status >= 400 && status < 500 && status !== 429))
    .map(({ name }) => name)
    .filter((name) => !statusesOf(run, name).some((status) => status >= 400))

const statusesOf = (run: Run, name: string): number[] => [...(run.tallies.get(name)?.statuses.keys() ?? [])]
