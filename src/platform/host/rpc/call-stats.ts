import { Counter, type Registry } from 'prom-client'

/** Of the calls of one procedure, one in so many is timed. */
const TIMED = 8

/**
 * Counts the calls of one procedure, and times the first and every eighth after it. Plain numbers, read when somebody
 * scrapes: a local call cannot afford more. To read the clock at its beginning and its end took a third of its time.
 */
export class CallStats {
  count = 0
  failures = 0
  timed = 0
  milliseconds = 0
  private begun = 0

  /** @returns the time, if this call shall be timed, else 0 */
  began(): number {
    return this.begun++ % TIMED === 0 ? performance.now() : 0
  }

  /** @param began what {@link began} returned */
  ended(began: number, failed: boolean): void {
    this.count++
    if (failed) this.failures++
    if (began === 0) return
    this.timed++
    this.milliseconds += performance.now() - began
  }
}

/**
 * The statistics of all calls that this process makes, exposed as `seam_calls_total`, `seam_call_failures_total`,
 * `seam_calls_timed_total` and the `seam_call_seconds_total` that these took, each with the labels `caller`, `module` and `procedure`.
 */
export class CallStatistics {
  readonly #all = new Map<string, { labels: Record<string, string>; stats: CallStats }>()

  constructor(registry: Registry) {
    this.#expose(registry, 'seam_calls_total', 'Calls of procedures.', (stats) => stats.count)
    this.#expose(registry, 'seam_call_failures_total', 'Calls of procedures that failed.', (stats) => stats.failures)
    this.#expose(registry, 'seam_calls_timed_total', 'Calls of procedures that were timed.', (stats) => stats.timed)
    this.#expose(
      registry,
      'seam_call_seconds_total',
      'Time spent waiting for those procedures that were timed.',
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
