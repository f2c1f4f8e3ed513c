import { setTimeout as sleep } from 'node:timers/promises'
import { Counter, Gauge, type Registry } from 'prom-client'

/**
 * How many requests and calls one process has under way for one module, and how many it takes on. At a gateway: requests that are
 * passed on. More than it can answer soon would only make all of them late, so these are refused at once, as long as that is cheap.
 */
export class Gate {
  readonly module: string
  readonly #most: number
  inside = 0
  refused = 0

  constructor(module: string, most: number) {
    this.module = module
    this.#most = most
  }

  /** Whether one more may come in; if so, say {@link leave} once when it has its answer. */
  enter(): boolean {
    if (this.inside >= this.#most) {
      this.refused++
      return false
    }
    this.inside++
    return true
  }

  leave(): void {
    this.inside--
  }
}

/**
 * The gates of the modules that a process hosts, exposed as `seam_in_progress` and `seam_refused_total`, each with the label
 * `module`.
 */
export class Gates {
  readonly #gates = new Map<string, Gate>()

  /** @param limits for each module, the most requests and calls at a time */
  constructor(limits: readonly { module: string; most: number }[], registry: Registry) {
    for (const { module, most } of limits) this.#gates.set(module, new Gate(module, most))
    const gates = this.#gates
    const common = { labelNames: ['module'], registers: [registry] }
    new Gauge({
      ...common,
      name: 'seam_in_progress',
      help: 'Requests and calls that are being answered.',
      collect() {
        for (const { module, inside } of gates.values()) this.set({ module }, inside)
      },
    })
    new Counter({
      ...common,
      name: 'seam_refused_total',
      help: 'Requests and calls that were refused because there was too much to do.',
      collect() {
        this.reset()
        for (const { module, refused } of gates.values()) this.inc({ module }, refused)
      },
    })
  }

  /** Waits until all that has come in is answered, but not longer than `milliseconds`. */
  async empty(milliseconds: number): Promise<void> {
    const until = performance.now() + milliseconds
    while (performance.now() < until && [...this.#gates.values()].some(({ inside }) => inside > 0)) await sleep(20)
  }

  /** @returns undefined where nothing is limited */
  of(module: string): Gate | undefined {
    return this.#gates.get(module)
  }
}
