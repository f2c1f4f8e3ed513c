import { CircuitState, ConsecutiveBreaker, SamplingBreaker } from 'cockatiel'

/** An instance is left alone after so many failures in a row … */
const IN_A_ROW = 5
/**
 * Of requests that were under way together and fail within so many milliseconds of each other, one counts there: a connection that
 * breaks takes all with it that was under way on it, and the calls of one request have one deadline.
 */
const AT_ONCE = 5
/** … or when of what it was asked in the last 5 s, at 5 a second and more, more than half has failed. */
const SHARE = { threshold: 0.5, duration: 5_000, minimumRps: 5 }
/** How long it is left alone, in milliseconds: at most this twice a second somebody tries whether it is back. */
const PAUSE = 500

/**
 * Whether one instance is worth asking: a circuit breaker. Failures are timeouts, faults of the connection and 5xx, never
 * answers that a caller has brought upon itself. While it is open nobody asks, but once in half a second one request tries.
 * When to open is cockatiel's decision; the states are kept here, because requests that stream begin and end apart.
 */
export class Breaker {
  readonly #inARow = new ConsecutiveBreaker(IN_A_ROW)
  readonly #share = new SamplingBreaker(SHARE)
  #state: CircuitState = CircuitState.Closed
  #openUntil = 0
  #opened = 0
  #failed = Number.NEGATIVE_INFINITY
  /** How often it has opened; a try that failed is no opening of its own. */
  openings = 0

  get state(): 'closed' | 'open' | 'half-open' {
    if (this.#state === CircuitState.Closed) return 'closed'
    return this.#state === CircuitState.HalfOpen ? 'half-open' : 'open'
  }

  /** Whether a request may begin; while the breaker is open, true only when it is time to try. */
  mayAsk(now = performance.now()): boolean {
    return this.#state === CircuitState.Closed || now >= this.#openUntil
  }

  /** A request begins. While the breaker is open it is the one that tries: nobody else may until it has had its time. */
  began(now = performance.now()): void {
    if (this.#state === CircuitState.Closed) return
    this.#state = CircuitState.HalfOpen
    this.#openUntil = now + PAUSE
  }

  /** @param began when the request began, by `performance.now()`; left out: since the breaker opened last */
  succeeded(began = Number.POSITIVE_INFINITY): void {
    if (this.#state === CircuitState.Open || this.#isOld(began)) return
    this.#inARow.success()
    this.#share.success(this.#state)
    this.#state = CircuitState.Closed
  }

  /** @param began as above */
  failed(now = performance.now(), began = Number.POSITIVE_INFINITY): void {
    if (this.#isOld(began)) return
    const isAnother = began >= this.#failed || now - this.#failed >= AT_ONCE
    if (isAnother) this.#failed = now
    const isRow = isAnother && this.#inARow.failure()
    const isShare = this.#share.failure(this.#state)
    const open = isRow || isShare
    if (!open && this.#state === CircuitState.Closed) return
    if (this.#state === CircuitState.Closed) this.openings++
    this.#state = CircuitState.Open
    this.#opened = now
    this.#openUntil = now + PAUSE
  }

  /**
   * While it is not closed, what began before says nothing of now, be it good or bad: the one that tries decides. Requests that
   * were under way when an instance hung go on failing for as long as they have time.
   */
  #isOld(began: number): boolean {
    return this.#state !== CircuitState.Closed && began < this.#opened
  }
}
