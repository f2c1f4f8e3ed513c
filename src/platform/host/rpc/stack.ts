import type { Balancer } from '../balancing/balancer.ts'
import { balanced } from './policies/balanced.ts'
import { hedged } from './policies/hedged.ts'
import { type Limits, limited } from './policies/limit.ts'
import { retried } from './policies/retried.ts'
import type { RetryBudgets } from './policies/retry-budget.ts'
import type { Dispatch, Policy, Transport } from './remote-call.ts'

/**
 * What happens to each call on its way to another process, from the outside in. This is the whole list; all of it is on by
 * default. The deadline is none of these: it belongs to the request, and every one of them ends by it.
 *
 * @param options.budgets shared with the gateway, so that all that one process repeats is counted together
 */
export function stack(options: {
  transport: Transport
  balancer: Balancer
  budgets: RetryBudgets
  limits?: Limits
}): Dispatch {
  const { transport, balancer, budgets } = options
  const policies: Policy[] = [
    // No more at a time than a module that hangs may cost.
    limited(options.limits),
    // Again, if the module could not be reached.
    retried(budgets),
    // A second instance, if the first one takes long and the contract allows it.
    hedged(budgets),
  ]
  // The instance that is least busy and not left out by its breaker.
  return policies.reduceRight<Dispatch>((next, policy) => policy(next), balanced({ transport, balancer }))
}
