import type { Instance } from './instance.ts'

/** Instances of one priority. What is done for every request makes no garbage. */
export class Tier {
  readonly #instances: readonly Instance[]
  readonly #isEven: boolean

  constructor(instances: readonly Instance[]) {
    this.#instances = instances
    this.#isEven = instances.every(({ weight }) => weight === instances[0]!.weight)
  }

  /** The better of two that are drawn by their weights, a slow one only if there is no other; undefined if none can be asked. */
  pick(tried: readonly Instance[], now: number): Instance | undefined {
    return this.#pick(tried, now, false) ?? this.#pick(tried, now, true)
  }

  #pick(tried: readonly Instance[], now: number, slow: boolean): Instance | undefined {
    let count = 0
    let weight = 0
    let last: Instance | undefined
    for (const instance of this.#instances) {
      if (!mayAsk(instance, tried, now, slow)) continue
      count++
      weight += instance.weight
      last = instance
    }
    if (count < 2) return last
    const evenly = this.#isEven || weight === 0
    const total = evenly ? count : weight
    const one = this.#draw(total, evenly, tried, now, slow)
    // Drawn twice, the busiest of all would be asked. Of different weights the heaviest is meant to be drawn twice.
    const other = evenly
      ? this.#draw(total - 1, true, tried, now, slow, one)
      : this.#draw(total, false, tried, now, slow)
    return other.inFlight * (one.weight || 1) < one.inFlight * (other.weight || 1) ? other : one
  }

  /** One by chance. Those of weight 0 have none, unless all of them have it. */
  #draw(
    total: number,
    evenly: boolean,
    tried: readonly Instance[],
    now: number,
    slow: boolean,
    but?: Instance,
  ): Instance {
    let rest = Math.random() * total
    let last: Instance | undefined
    for (const instance of this.#instances) {
      if (instance === but || !mayAsk(instance, tried, now, slow)) continue
      const share = evenly ? 1 : instance.weight
      if (share === 0) continue
      last = instance
      rest -= share
      if (rest < 0) break
    }
    return last!
  }
}

/** Whether it has failed is found out also while it is left alone for being slow: the others may be gone by the time it is not. */
const mayAsk = (instance: Instance, tried: readonly Instance[], now: number, slow: boolean): boolean =>
  instance.breaker.mayAsk(now) &&
  (slow || !instance.isLeftOut(now) || instance.breaker.state !== 'closed') &&
  !tried.includes(instance)

/** The tiers of a list of instances, those that are asked first coming first. */
export const tiersOf = (instances: readonly Instance[]): readonly Tier[] =>
  [...Map.groupBy(instances, ({ priority }) => priority)]
    .sort(([one], [other]) => one - other)
    .map(([, same]) => new Tier(same))
