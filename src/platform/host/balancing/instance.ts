import type { Endpoint } from '../discovery/discovery.ts'
import { Breaker } from './breaker.ts'

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

  /** A request to it begins; say {@link ended} once, when its answer is complete or will not come. */
  began(): void {
    this.inFlight++
    this.breaker.began()
  }

  ended(outcome: Outcome): void {
    this.inFlight--
    if (outcome === 'answered') this.breaker.succeeded()
    else if (outcome === 'failed') this.breaker.failed()
  }
}
