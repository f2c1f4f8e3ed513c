import type { RequestContext } from '../../request-context.ts'
import type { Policy, RemoteCall } from '../remote-call.ts'
import type { RetryBudgets } from './retry-budget.ts'

/**
 * Asks a second instance when the first one takes its time, for queries whose contract says after how many milliseconds
 * (`hedge`). The answer that comes first counts, and the other one is given up. What is asked twice counts as a repetition
 * (Dean and Barroso, The Tail at Scale, 2013).
 */
export function hedged(budgets: RetryBudgets): Policy {
  return (next) => (call) => {
    const { kind, hedge } = call.procedure
    if (kind !== 'query' || hedge === undefined) return next(call)

    return new Promise((resolve, reject) => {
      const tries: RequestContext[] = []
      let under = 0
      const end = (settle: () => void) => {
        clearTimeout(timer)
        settle()
        for (const context of tries) {
          call.context.forget(context)
          context.end()
        }
      }
      const ask = () => {
        const context = call.context.within(Number.POSITIVE_INFINITY)
        tries.push(context)
        under++
        const one: RemoteCall = { ...call, context }
        next(one).then(
          (answer) => end(() => resolve(answer)),
          // While the other one is under way, there is hope.
          (error) => --under === 0 && end(() => reject(error)),
        )
      }
      const timer = setTimeout(() => {
        const budget = budgets.of(call.contract.name)
        if (!budget.take()) return
        budget.hedges++
        ask()
      }, hedge)
      timer.unref()
      ask()
    })
  }
}
