import type { Contract } from '../../../kit/contract.ts'
import type { Adapter, Target } from '../target.ts'
import { delayed, type FaultPlan, noAnswer } from './plan.ts'

/**
 * The local adapter with the faults that a call inside of a process can have as well: `delay` and `error`. What else a
 * {@link FaultPlan} says is of networks.
 */
export class FaultyAdapter implements Adapter {
  readonly kind = 'local'
  readonly #inner: Adapter
  readonly #plan: FaultPlan

  constructor(inner: Adapter, plan: FaultPlan) {
    this.#inner = inner
    this.#plan = plan
  }

  target(caller: string, contract: Contract, procedure: string): Target {
    const target = this.#inner.target(caller, contract, procedure)
    const module = contract.name
    return {
      failure: (error) => target.failure(error),
      invoke: async (input, context) => {
        const faults = this.#plan.next(module, procedure)
        if (faults) await delayed(module, faults, context)
        if (faults?.has('error')) throw noAnswer(module, 'the module answered with 503.')
        return target.invoke(input, context)
      },
    }
  }
}
