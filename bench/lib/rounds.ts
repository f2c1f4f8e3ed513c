import { median } from './numbers.ts'

/** One of those who are compared; `measure` runs one round and says what came out of it. */
export interface Contender<M> {
  readonly name: string
  measure(): Promise<M>
}

export interface Series<M> {
  readonly name: string
  readonly rounds: readonly M[]
  /** The median of one number of all rounds. */
  median(number: (round: M) => number): number
}

/**
 * How one compares with another: the median of the ratios of each round, which were measured one after the other. What
 * changes in the machine over the minutes falls out; the ratio of the medians would keep it.
 */
export function ratio<M>(one: Series<M>, other: Series<M>, number: (round: M) => number): number {
  return median(one.rounds.map((round, i) => number(round) / number(other.rounds[i]!)))
}

/**
 * Lets the contenders take turns (A B C, A B C, …), so that whatever else goes on in the machine meets all alike.
 * Warm-up rounds come first and are forgotten.
 */
export async function inTurns<M>(
  contenders: readonly Contender<M>[],
  options: { warmUps: number; rounds: number },
): Promise<Series<M>[]> {
  const results = contenders.map(() => [] as M[])
  for (let round = -options.warmUps; round < options.rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const result = await contender.measure()
      if (round >= 0) results[i]!.push(result)
    }
  }
  return contenders.map(({ name }, i) => ({
    name,
    rounds: results[i]!,
    median: (number) => median(results[i]!.map(number)),
  }))
}
