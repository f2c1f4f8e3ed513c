import type { Instance } from './instance.ts'

/** Instances of one priority. What is done for every request makes no garbage. */
export class Tier {
  readonly #instances: readonly Instance[]

  constructor(instances: readonly Instance[]) {
    this.#instances = instances
  }

  /** The better of two that are drawn by their weights, a slow one only if there is no other; undefined if none can be asked. */
  pick(tried: readonly Instance[], now: number): Instance | undefined {
    return this.#pick(tried, now, false) ?? this.#pick(tried, now, true)
  }

  #pick(tried: readonly Instance[], now: number, slow: boolean): Instance | undefined {
    let count = 0
    let weight = 0
    for (const instance of this.#instances) {
      if (!mayAsk(instance, tried, now, slow)) continue
      count++
      weight += instance.weight
    }
    if (count === 0) return undefined
    const one = this.#draw(weight || count, weight === 0, tried, now, slow)
    if (count === 1) return one
    const other = this.#draw(weight || count, weight === 0, tried, now, slow)
    return other.inFlight * (one.weight || 1) < one.inFlight * (other.weight || 1) ? other : one
  }

  /** One by chance. Those of weight 0 have none, unless all of them have it. */
  #draw(total: number, evenly: boolean, tried: readonly Instance[], now: number, slow: boolean): Instance {
    let rest = Math.random() * total
    let last: Instance | undefined
    for (const instance of this.#instances) {
      if (!mayAsk(instance, tried, now, slow)) continue
      const share = evenly ? 1 : instance.weight
      if (share === 0) continue
      last = instance
      rest -= share
      if (rest < 0) break
    }
    return last!
  }
}

const mayAsk = (instance: Instance, tried: readonly Instance[], now: number, slow: boolean): boolean =>
  instance.breaker.mayAsk(now) && (slow || !instance.isLeftOut(now)) && !tried.includes(instance)

/** The tiers of a list of instances, those that are asked first coming first. */
export const tiersOf = (instances: readonly Instance[]): readonly Tier[] =>
  [...Map.groupBy(instances, ({ priority }) => priority)]
    .sort(([one], [other]) => one - other)
    .map(([, same]) => new Tier(same))
