import { setTimeout as sleep } from 'node:timers/promises'

/** The point in time, on the clock of `performance.now()`, that lies `seconds` ahead. */
export function deadlineIn(seconds: number): number {
  return performance.now() + seconds * 1000
}

/**
 * Calls `check` every 10 ms until it returns something other than `undefined`, and returns that.
 * Returns `undefined` when the deadline has passed; an error of `check` ends the wait.
 */
export async function until<T>(deadline: number, check: () => T | Promise<T>): Promise<T | undefined> {
  for (;;) {
    const result = await check()
    if (result !== undefined || performance.now() > deadline) return result
    await sleep(10)
  }
}
