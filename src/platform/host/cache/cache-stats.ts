import type { Registry } from 'prom-client'
import { exposeCounted } from '../ops/counted.ts'

/** What a call of a query with a cache came to; `off`: the cache could not be asked, and the call was made without it. */
export type Outcome = 'hit' | 'miss' | 'joined' | 'stale' | 'off'

/** Counts what calls came to, exposed as `seam_cache_total` with the labels `caller`, `module`, `procedure` and `outcome`. */
export class CacheStatistics {
  readonly #all: { labels: Record<string, string>; outcomes: Map<Outcome, number> }[] = []

  constructor(registry: Registry) {
    const all = this.#all
    const labelNames = ['caller', 'module', 'procedure', 'outcome']
    exposeCounted(
      registry,
      'seam_cache_total',
      'Calls of queries whose answers may be kept.',
      labelNames,
      function* () {
        for (const { labels, outcomes } of all)
          for (const [outcome, value] of outcomes) yield { labels: { ...labels, outcome }, value }
      },
    )
  }

  of(caller: string, module: string, procedure: string): (outcome: Outcome) => void {
    const outcomes = new Map<Outcome, number>()
    this.#all.push({ labels: { caller, module, procedure }, outcomes })
    return (outcome) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
}
