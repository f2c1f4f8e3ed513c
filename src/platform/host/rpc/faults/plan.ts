import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DeadlineExceeded, Unavailable } from '../../../kit/errors.ts'
import type { RequestContext } from '../../request-context.ts'
import type { FaultKind, FaultRule } from './rules.ts'

/** What happens to one call. */
export interface Faults {
  /** Milliseconds before it is sent; 0 for none. */
  readonly delay: number
  has(kind: FaultKind): boolean
}

/**
 * Draws what happens to each call that this process makes. The n-th call of a procedure has the same faults in every run with
 * the same rules and the same seed, whatever happens to other procedures. What the platform itself asks has none.
 */
export class FaultPlan {
  readonly rules: readonly FaultRule[]
  readonly seed: number
  readonly #calls = new Map<string, number>()

  constructor({ rules, seed }: { rules: readonly FaultRule[]; seed: number }) {
    this.rules = rules
    this.seed = seed
  }

  /** @returns what happens to the next call of a procedure; undefined: nothing */
  next(module: string, procedure: string): Faults | undefined {
    if (procedure.startsWith('$')) return undefined
    const name = `${module}.${procedure}`
    const n = (this.#calls.get(name) ?? 0) + 1
    this.#calls.set(name, n)
    const drawn = this.rules.filter(
      ({ target, probability }, index) =>
        ['*', module, name].includes(target) && chance(`${this.seed} ${name} ${n} ${index}`) < probability,
    )
    if (drawn.length === 0) return undefined
    return {
      delay: drawn.reduce((sum, { delay }) => sum + delay, 0),
      has: (kind) => drawn.some((rule) => rule.kind === kind),
    }
  }
}

/** A number from 0 to below 1 that follows from a text and looks like chance: no state, so nothing gets out of step. */
const chance = (text: string): number => hash('sha256', text, 'buffer').readUInt32BE() / 2 ** 32

/** What a caller gets when a fault is to look as if nobody had answered. */
export const noAnswer = (module: string, what: string): Unavailable =>
  new Unavailable(module, { cause: new Error(`FAULTS: ${what}`) })

/** @throws {DeadlineExceeded} when nobody waits for the answer any more before the time is up */
export async function delayed(module: string, { delay }: Faults, context: RequestContext): Promise<void> {
  if (delay === 0) return
  await sleep(delay, undefined, { ref: false, signal: context.signal }).catch((cause) => {
    throw new DeadlineExceeded(module, { cause })
  })
}
