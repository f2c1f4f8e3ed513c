import type { Endpoint } from '../discovery/discovery.ts'
import { Breaker } from './breaker.ts'

/** How long an instance that has said that it is about to stop is asked only if there is no other, in milliseconds. */
const DRAINING = 2_000

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

  /** What requests to it take, in milliseconds: the latest count most; 0 when nothing is known. */
  milliseconds = 0
  /** How often it was left out because it was slow. */
  outliers = 0
  #leftOutUntil = 0

  /** True while it is left alone, because it is slow or about to stop. */
  isLeftOut(now: number): boolean {
    return now < this.#leftOutUntil
  }

  leaveOut(until: number): void {
    this.#leftOutUntil = until
    this.milliseconds = 0
  }

  /** It has said that it lets go of its connections: it is about to stop. If it comes back, it is asked again soon. */
  drains(now = performance.now()): void {
    this.leaveOut(now + DRAINING)
  }

  /** A request to it begins; say {@link ended} once, when its answer is complete or will not come. */
  began(): void {
    this.inFlight++
    this.breaker.began()
  }

  /** @param milliseconds how long it took, if it was answered and that says how fast the instance is */
  ended(outcome: Outcome, milliseconds?: number): void {
    this.inFlight--
    if (milliseconds !== undefined) this.#took(milliseconds)
    if (outcome === 'answered') this.breaker.succeeded()
    else if (outcome === 'failed') this.breaker.failed()
  }

  #took(milliseconds: number): void {
    this.milliseconds = this.milliseconds === 0 ? milliseconds : this.milliseconds * 0.9 + milliseconds * 0.1
  }
}
