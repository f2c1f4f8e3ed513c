import { table } from './numbers.ts'

/** One line of the summary. */
export interface Verdict {
  readonly what: string
  readonly target: string
  readonly reached: string
  readonly met: boolean
}

export interface Settings {
  readonly quick: boolean
  /** Undefined: each part's own number. */
  readonly rounds: number | undefined
}

/** One part of the benchmark: prints what it measures and says how it stands to its targets. */
export type Part = (settings: Settings) => Promise<Verdict[]>

export function headline(title: string, explanation: string): void {
  console.log(`\n${title}\n${explanation}\n`)
}

export const printTable = (rows: readonly (readonly string[])[]): void => console.log(table(rows))

export function atLeast(what: string, target: number, reached: number): Verdict {
  return { what, target: `>= ${target.toFixed(2)}`, reached: reached.toFixed(2), met: reached >= target }
}

export function atMost(what: string, target: number, reached: number, unit: string): Verdict {
  return { what, target: `<= ${target} ${unit}`, reached: `${Math.round(reached)} ${unit}`, met: reached <= target }
}
