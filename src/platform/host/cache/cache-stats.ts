import { Counter, type Registry } from 'prom-client'

/** What a call of a query with a cache came to; `off`: the cache could not be asked, and the call was made without it. */
export type Outcome = 'hit' | 'miss' | 'joined' | 'stale' | 'off'

/** Counts what calls came to, exposed as `seam_cache_total` with the labels `caller`, `module`, `procedure` and `outcome`. */
export class CacheStatistics {
  readonly #counter: Counter

  constructor(registry: Registry) {
    this.#counter = new Counter({
      name: 'seam_cache_total',
      help: 'Calls of queries whose answers may be kept.',
      labelNames: ['caller', 'module', 'procedure', 'outcome'],
      registers: [registry],
    })
  }

  of(caller: string, module: string, procedure: string): (outcome: Outcome) => void {
    return (outcome) => this.#counter.inc({ caller, module, procedure, outcome })
  }
}
