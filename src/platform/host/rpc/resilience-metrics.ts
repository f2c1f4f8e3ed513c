import { Counter, Gauge, type Registry } from 'prom-client'
import type { Balancer } from '../balancing/balancer.ts'
import type { Instance } from '../balancing/instance.ts'
import type { RetryBudget, RetryBudgets } from './policies/retry-budget.ts'

const STATES = { closed: 0, 'half-open': 1, open: 2 }

/**
 * Exposes what the policies of calls and the gateway do: plain numbers, read when somebody scrapes. Labels are the modules
 * that this process asks, and for each the `origin` of the instances that are known at the moment (Prometheus keeps `instance`
 * for itself); one that has gone takes its numbers along.
 */
export function exposeResilience(
  registry: Registry,
  { balancer, budgets }: { balancer: Balancer; budgets: RetryBudgets },
): void {
  const ofInstances = (
    name: string,
    help: string,
    Kind: typeof Counter | typeof Gauge,
    value: (one: Instance) => number,
  ) =>
    new Kind({
      name,
      help,
      labelNames: ['module', 'origin'],
      registers: [registry],
      collect() {
        this.reset()
        for (const module of balancer.modules)
          for (const instance of balancer.instancesOf(module))
            this.inc({ module, origin: instance.origin }, value(instance))
      },
    })
  const ofModules = (name: string, help: string, value: (budget: RetryBudget) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['module'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [module, budget] of budgets.all) this.inc({ module }, value(budget))
      },
    })

  ofInstances(
    'seam_breaker_state',
    'Breakers: 0 closed, 1 half-open, 2 open.',
    Gauge,
    ({ breaker }) => STATES[breaker.state],
  )
  ofInstances(
    'seam_breaker_openings_total',
    'How often breakers have opened.',
    Counter,
    ({ breaker }) => breaker.openings,
  )
  ofInstances(
    'seam_outliers_total',
    'How often instances were left out as too slow.',
    Counter,
    ({ outliers }) => outliers,
  )
  ofModules('seam_retries_total', 'Calls and requests that were sent once more.', ({ taken, hedges }) => taken - hedges)
  ofModules(
    'seam_retries_refused_total',
    'Repetitions and hedges that the budget did not allow.',
    ({ refused }) => refused,
  )
  ofModules('seam_hedges_total', 'Calls for which a second instance was asked.', ({ hedges }) => hedges)
}
