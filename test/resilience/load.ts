import { setTimeout as sleep } from 'node:timers/promises'

/** One thing that was asked, and how it went. Times are those of `performance.now()`. */
export interface Seen {
  at: number
  milliseconds: number
  /** What it failed with, in a word. */
  failure: string | undefined
}

export interface Load {
  /** All that has ended. */
  readonly seen: readonly Seen[]
  readonly failures: string[]
  /** What was asked from one moment to another. */
  between(from: number, until: number): Seen[]
  end(): Promise<void>
}

/**
 * Asks over and over until {@link Load.end}.
 *
 * @param options.callers how many ask at the same time
 * @param options.pause milliseconds for which each rests after an answer, on the average: each for itself, so that they do not go in step
 */
export function keepAsking(ask: () => Promise<unknown>, options: { callers: number; pause: number }): Load {
  const seen: Seen[] = []
  let over = false
  const caller = async () => {
    while (!over) {
      const at = performance.now()
      const failure = await ask().then(
        () => undefined,
        (error) => `${error.code}: ${error.message}`,
      )
      seen.push({ at, milliseconds: performance.now() - at, failure })
      await sleep(2 * options.pause * Math.random())
    }
  }
  const callers = Array.from({ length: options.callers }, caller)
  return {
    seen,
    get failures() {
      return seen.flatMap(({ failure }) => failure ?? [])
    },
    between: (from, until) => seen.filter(({ at }) => at >= from && at < until),
    async end() {
      over = true
      await Promise.all(callers)
    },
  }
}

/** @param share 0.5 for the median, 0.99 for what only one of a hundred exceeds */
export function percentile(seen: readonly Seen[], share: number): number {
  const sorted = seen.map(({ milliseconds }) => milliseconds).sort((one, other) => one - other)
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

/** The 99th percentile of each part of a time, as of each 250 ms. */
export function tails(load: Load, from: number, until: number, every = 250): number[] {
  const parts: number[] = []
  for (let begin = from; begin + every <= until; begin += every)
    parts.push(percentile(load.between(begin, begin + every), 0.99))
  return parts
}
