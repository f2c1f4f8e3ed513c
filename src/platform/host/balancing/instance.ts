import type { Endpoint } from '../discovery/discovery.ts'
import { Breaker } from './breaker.ts'

/** How long an instance that has said that it is about to stop is asked only if there is no other, in milliseconds. */
const DRAINING = 2_000
/** How long the request has that tries an instance which was slow, in milliseconds; then another one may. */
const TRIAL = 1_000

/** How a request to an instance ended: `failed` speaks against the instance, `given up` says nothing about it. */
export type Outcome = 'answered' | 'failed' | 'given up'

/** One process that hosts a module, and what this process has seen of it. */
export class Instance implements Endpoint {
  readonly origin: string
  weight: number
  priority: number
  /** Requests that have begun and not ended. */
  inFlight = 0
  readonly breaker = new Breaker()

  constructor({ origin, weight, priority }: Endpoint) {
    this.origin = origin
    this.weight = weight
    this.priority = priority
  }

  /** What requests to it take on average, in milliseconds: the latest count most; 0 when nothing is known. */
  mean = 0
  /** What as many requests take more than as take less, approached in steps of a fifth: a few slow ones do not move it. */
  median = 0
  /** How often it was left out because it was slow. */
  outliers = 0
  #leftOutUntil = 0
  #trial: 'none' | 'due' | 'begun' = 'none'

  /** True while it is left alone, because it is slow or about to stop. */
  isLeftOut(now: number): boolean {
    return now < this.#leftOutUntil
  }

  /** It is slow. After `until` one request tries it, and nobody else asks it before it is judged by that. */
  leaveOut(until: number): void {
    this.#leftOutUntil = until
    this.#trial = 'due'
    this.mean = 0
    this.median = 0
  }

  /** Instances are compared, by what they took: if it has been tried, it is left alone no longer. */
  judge(): void {
    if (this.#trial !== 'begun' || this.mean === 0) return
    this.#trial = 'none'
    this.#leftOutUntil = 0
  }

  /** It has said that it lets go of its connections: it is about to stop. If it comes back, it is asked again soon. */
  drains(now = performance.now()): void {
    this.leaveOut(now + DRAINING)
    this.#trial = 'none'
  }

  /** A request to it begins; say {@link ended} once, when its answer is complete or will not come. */
  began(now = performance.now()): void {
    this.inFlight++
    this.breaker.began(now)
    if (this.#trial === 'none' || now < this.#leftOutUntil) return
    this.#trial = 'begun'
    this.#leftOutUntil = now + TRIAL
  }

  /**
   * @param milliseconds how long it took, if it was answered and that says how fast the instance is
   * @param began when it began, by `performance.now()`; left out: just now
   */
  ended(outcome: Outcome, milliseconds?: number, began?: number): void {
    this.inFlight--
    if (milliseconds !== undefined) this.#took(milliseconds)
    if (outcome === 'answered') this.breaker.succeeded(began)
    else if (outcome === 'failed') this.breaker.failed(performance.now(), began)
  }

  #took(milliseconds: number): void {
    // What began before it was left out says nothing of what it is like afterwards.
    if (this.#trial === 'due') return
    if (this.mean === 0) {
      this.mean = milliseconds
      this.median = milliseconds
      return
    }
    this.mean = this.mean * 0.9 + milliseconds * 0.1
    this.median =
      milliseconds > this.median ? Math.min(this.median * 1.2, milliseconds) : Math.max(this.median / 1.2, milliseconds)
  }
}
