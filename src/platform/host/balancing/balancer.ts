import { Unavailable } from '../../kit/errors.ts'
import type { Discovery, Endpoint } from '../discovery/discovery.ts'
import { Instance } from './instance.ts'

/** There is no instance of the module, or none that is worth asking: nothing was sent, and to try at once again is in vain. */
export class NobodyToAsk extends Unavailable {}

/**
 * Chooses the instance that is asked next, for calls and for proxied requests alike. Of two that are taken by chance, the
 * one with fewer requests under way (the power of two choices: Mitzenmacher 2001), so that a slow one gets less. One that
 * has been left out (see {@link Breaker}) is asked only to try it.
 */
export class Balancer {
  readonly #discovery: Discovery
  readonly #known = new Map<string, { endpoints: readonly Endpoint[]; instances: Instance[] }>()

  constructor(discovery: Discovery) {
    this.#discovery = discovery
  }

  /** All instances of a module that are known; what was seen of one is kept as long as it is among them. */
  instancesOf(module: string): readonly Instance[] {
    const endpoints = this.#discovery.endpointsOf(module)
    const known = this.#known.get(module)
    if (known?.endpoints === endpoints) return known.instances
    const instances = endpoints.map((endpoint) => {
      const same = known?.instances.find(({ origin }) => origin === endpoint.origin)
      return same ? Object.assign(same, endpoint) : new Instance(endpoint)
    })
    this.#known.set(module, { endpoints, instances })
    return instances
  }

  /**
   * @param tried instances that have failed this request already: another one, if there is any
   * @throws {NobodyToAsk} when there is no instance, or all are left out
   */
  pick(module: string, tried: readonly Instance[] = []): Instance {
    const worth = this.instancesOf(module).filter((instance) => instance.breaker.mayAsk())
    const fresh = worth.filter((instance) => !tried.includes(instance))
    const candidates = fresh.length > 0 ? fresh : worth
    if (candidates.length === 0) throw new NobodyToAsk(module)
    const [one, other] = [anyOf(candidates), anyOf(candidates)]
    return other.inFlight < one.inFlight ? other : one
  }
}

const anyOf = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!
