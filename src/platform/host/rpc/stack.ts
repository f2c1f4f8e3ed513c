import type { Balancer } from '../balancing/balancer.ts'
import { balanced } from './policies/balanced.ts'
import { type Limits, limited } from './policies/limit.ts'
import type { Dispatch, Policy, Transport } from './remote-call.ts'

/**
 * What happens to each call on its way to another process, from the outside in. This is the whole list; all of it is on by
 * default.
 */
export function stack(options: { transport: Transport; balancer: Balancer; limits?: Limits }): Dispatch {
  const policies: Policy[] = [
    // No more at a time than a module that hangs may cost.
    limited(options.limits),
  ]
  return policies.reduceRight<Dispatch>((next, policy) => policy(next), balanced(options))
}
