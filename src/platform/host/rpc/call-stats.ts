import { Counter, type Registry } from 'prom-client'

/** Counts the calls of one procedure. Plain numbers, read when somebody scrapes: a local call cannot afford more. */
export class CallStats {
  count = 0
  failures = 0
  milliseconds = 0

  /** @param milliseconds how long the call took, as the caller saw it */
  ended(milliseconds: number, failed: boolean): void {
    this.count++
    this.milliseconds += milliseconds
    if (failed) this.failures++
  }
}

/**
 * The statistics of all calls that this process makes, exposed as `seam_calls_total`, `seam_call_failures_total` and
 * `seam_call_seconds_total`, each with the labels `caller`, `module` and `procedure`.
 */
export class CallStatistics {
  readonly #all = new Map<string, { labels: Record<string, string>; stats: CallStats }>()

  constructor(registry: Registry) {
    this.#expose(registry, 'seam_calls_total', 'Calls of procedures.', (stats) => stats.count)
    this.#expose(registry, 'seam_call_failures_total', 'Calls of procedures that failed.', (stats) => stats.failures)
    this.#expose(
      registry,
      'seam_call_seconds_total',
      'Time spent waiting for procedures.',
      (stats) => stats.milliseconds / 1000,
    )
  }

  of(caller: string, module: string, procedure: string): CallStats {
    const key = `${caller} ${module}.${procedure}`
    const known = this.#all.get(key)
    if (known) return known.stats
    const stats = new CallStats()
    this.#all.set(key, { labels: { caller, module, procedure }, stats })
    return stats
  }

  #expose(registry: Registry, name: string, help: string, value: (stats: CallStats) => number): void {
    const all = this.#all
    new Counter({
      name,
      help,
      labelNames: ['caller', 'module', 'procedure'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { labels, stats } of all.values()) this.inc(labels, value(stats))
      },
    })
  }
}
