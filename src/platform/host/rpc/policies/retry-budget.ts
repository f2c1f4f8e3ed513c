/** Of what is asked, so much may be sent again, in the same second or the next … */
const SHARE = 0.2
/** … or so many in a second, where that is more. */
const LEAST = 3

/**
 * Keeps repetitions from making bad things worse: whatever fails, an overloaded module gets at most a fifth more than it was
 * asked for. What one second has left over is good for the next, for an instance that dies takes with it what it was asked
 * before. (The numbers are Finagle's: https://twitter.github.io/finagle/guide/Clients.html#retries)
 */
export class RetryBudget {
  /** All that was ever repeated, hedges included. */
  taken = 0
  refused = 0
  hedges = 0
  #second = 0
  #asked = 0
  #repeated = 0
  /** What the second before has left over. */
  #left = 0

  /** Something is asked for the first time. */
  asked(now = performance.now()): void {
    this.#turnTo(now)
    this.#asked++
  }

  /** Whether something may be asked once more; if so, it is counted. */
  take(now = performance.now()): boolean {
    this.#turnTo(now)
    if (this.#repeated + 1 > Math.max(LEAST, this.#left + SHARE * this.#asked)) {
      this.refused++
      return false
    }
    this.#repeated++
    this.taken++
    return true
  }

  #turnTo(now: number): void {
    const second = Math.floor(now / 1000)
    if (second === this.#second) return
    const own = SHARE * this.#asked - Math.max(0, this.#repeated - this.#left)
    this.#left = second === this.#second + 1 ? Math.max(0, own) : 0
    this.#second = second
    this.#asked = 0
    this.#repeated = 0
  }
}

/** One budget for each module that this process asks. */
export class RetryBudgets {
  readonly #budgets = new Map<string, RetryBudget>()

  get all(): Iterable<[module: string, budget: RetryBudget]> {
    return this.#budgets
  }

  of(module: string): RetryBudget {
    let budget = this.#budgets.get(module)
    if (!budget) this.#budgets.set(module, (budget = new RetryBudget()))
    return budget
  }
}
