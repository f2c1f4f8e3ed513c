import type { Registry } from 'prom-client'
import { exposeCounted } from '../ops/counted.ts'
import { Durations, exposeDurations } from '../ops/durations.ts'
import type { Adapter } from './target.ts'

/** Of the calls of one procedure, one in so many is timed. */
const TIMED = 8

/**
 * Counts the calls of one procedure, and times the first and every eighth after it. Plain numbers, read when somebody
 * scrapes: a local call cannot afford more. To read the clock at its beginning and its end took a third of its time.
 */
export class CallStats {
  answered = 0
  /** By the code of the error. */
  readonly failed = new Map<string, number>()
  readonly timed = new Durations()
  private begun = 0

  /** @returns the time, if this call shall be timed, else 0 */
  began(): number {
    return this.begun++ % TIMED === 0 ? performance.now() : 0
  }

  /**
   * @param began what {@link began} returned
   * @param failure the code of the error, if it failed
   */
  ended(began: number, failure?: string): void {
    if (failure === undefined) this.answered++
    else this.failed.set(failure, (this.failed.get(failure) ?? 0) + 1)
    if (began !== 0) this.timed.add(performance.now() - began)
  }
}

/**
 * The statistics of all calls that this process makes, exposed as `seam_calls_total` and, of one call in eight,
 * `seam_call_seconds`, with the labels `caller`, `module`, `procedure` and `adapter`. The `outcome` of a call is `ok` or the
 * code of its error.
 */
export class CallStatistics {
  readonly #all = new Map<string, { labels: Record<string, string>; stats: CallStats }>()

  constructor(registry: Registry) {
    const all = this.#all
    const labelNames = ['caller', 'module', 'procedure', 'adapter', 'outcome']
    exposeCounted(registry, 'seam_calls_total', 'Calls of procedures.', labelNames, function* () {
      for (const { labels, stats } of all.values()) {
        yield { labels: { ...labels, outcome: 'ok' }, value: stats.answered }
        for (const [outcome, value] of stats.failed) yield { labels: { ...labels, outcome }, value }
      }
    })
    exposeDurations(registry, 'seam_call_seconds', 'How long calls of procedures took, one in eight.', function* () {
      for (const { labels, stats } of all.values()) yield { labels, durations: stats.timed }
    })
  }

  of(caller: string, module: string, procedure: string, adapter: Adapter['kind']): CallStats {
    const key = `${caller} ${module}.${procedure} ${adapter}`
    const known = this.#all.get(key)
    if (known) return known.stats
    const stats = new CallStats()
    this.#all.set(key, { labels: { caller, module, procedure, adapter }, stats })
    return stats
  }
}
