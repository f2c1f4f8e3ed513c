import type { Instance } from './instance.ts'

/** Instances of one priority. What is done for every request makes no garbage. */
export class Tier {
  readonly #instances: readonly Instance[]

  constructor(instances: readonly Instance[]) {
    this.#instances = instances
  }

  /** The better of two that are drawn by their weights; undefined when none can be asked. */
  pick(tried: readonly Instance[], now: number): Instance | undefined {
    let count = 0
    let weight = 0
    for (const instance of this.#instances) {
      if (!mayAsk(instance, tried, now)) continue
      count++
      weight += instance.weight
    }
    if (count === 0) return undefined
    const one = this.#draw(weight || count, weight === 0, tried, now)
    if (count === 1) return one
    const other = this.#draw(weight || count, weight === 0, tried, now)
    return other.inFlight * (one.weight || 1) < one.inFlight * (other.weight || 1) ? other : one
  }

  /** One by chance. Those of weight 0 have none, unless all of them have it. */
  #draw(total: number, evenly: boolean, tried: readonly Instance[], now: number): Instance {
    let rest = Math.random() * total
    let last: Instance | undefined
    for (const instance of this.#instances) {
      if (!mayAsk(instance, tried, now)) continue
      const share = evenly ? 1 : instance.weight
      if (share === 0) continue
      last = instance
      rest -= share
      if (rest < 0) break
    }
    return last!
  }
}

const mayAsk = (instance: Instance, tried: readonly Instance[], now: number): boolean =>
  instance.breaker.mayAsk(now) && !tried.includes(instance)

/** The tiers of a list of instances, those that are asked first coming first. */
export const tiersOf = (instances: readonly Instance[]): readonly Tier[] =>
  [...Map.groupBy(instances, ({ priority }) => priority)]
    .sort(([one], [other]) => one - other)
    .map(([, same]) => new Tier(same))
