import { Unavailable } from '../../kit/errors.ts'
import type { Discovery, Endpoint } from '../discovery/discovery.ts'
import { Instance } from './instance.ts'
import { leaveOutSlow } from './outliers.ts'
import { type Tier, tiersOf } from './tier.ts'

const NONE: readonly Instance[] = []

interface Known {
  readonly endpoints: readonly Endpoint[]
  readonly instances: readonly Instance[]
  readonly tiers: readonly Tier[]
  /** When the instances were compared last. */
  compared: number
}

/** There is no instance of the module, or none that is worth asking: nothing was sent, and to try at once again is in vain. */
export class NobodyToAsk extends Unavailable {}

/** How often instances are compared, in milliseconds. */
const COMPARED = 500

/**
 * Chooses the instance that is asked next, for calls and for proxied requests alike. Of two that are taken by chance, the
 * one with fewer requests under way for its weight (the power of two choices: Mitzenmacher 2001), so that a slow one gets
 * less. One that has been left out (see {@link Breaker}) is asked only to try it, and one of a higher number of priority only
 * when none of a lower one can be.
 */
export class Balancer {
  readonly #discovery: Discovery
  readonly #known = new Map<string, Known>()

  constructor(discovery: Discovery) {
    this.#discovery = discovery
  }

  /** The modules that were asked so far. */
  get modules(): Iterable<string> {
    return this.#known.keys()
  }

  /** All instances of a module that are known; what was seen of one is kept as long as it is among them. */
  instancesOf(module: string): readonly Instance[] {
    return this.#knownOf(module).instances
  }

  /**
   * @param tried instances that have failed this request already: another one, if there is any
   * @param now what `performance.now()` says; who knows it already need not have the clock read again
   * @throws {NobodyToAsk} when there is no instance, or all are left out
   */
  pick(module: string, tried: readonly Instance[] = NONE, now = performance.now()): Instance {
    const known = this.#knownOf(module)
    const { tiers } = known
    if (now - known.compared > COMPARED) {
      known.compared = now
      leaveOutSlow(known.instances, now)
    }
    const instance = first(tiers, tried, now) ?? (tried.length > 0 ? first(tiers, NONE, now) : undefined)
    if (!instance) throw new NobodyToAsk(module)
    return instance
  }

  /** An instance that has not been tried and may be asked, if there is one. */
  another(module: string, tried = NONE): Instance | undefined {
    return first(this.#knownOf(module).tiers, tried, performance.now())
  }

  #knownOf(module: string): Known {
    const endpoints = this.#discovery.endpointsOf(module)
    const known = this.#known.get(module)
    if (known?.endpoints === endpoints) return known
    const instances = endpoints.map((endpoint) => {
      const same = known?.instances.find(({ origin }) => origin === endpoint.origin)
      return same ? Object.assign(same, endpoint) : new Instance(endpoint)
    })
    const changed = { endpoints, instances, tiers: tiersOf(instances), compared: Number.NEGATIVE_INFINITY }
    this.#known.set(module, changed)
    return changed
  }
}

function first(tiers: readonly Tier[], tried: readonly Instance[], now: number): Instance | undefined {
  for (const tier of tiers) {
    const instance = tier.pick(tried, now)
    if (instance) return instance
  }
  return undefined
}
