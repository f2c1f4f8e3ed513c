import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits until a condition gives something true, and returns that; asks every 10 ms at first and every 50 ms later, at most `timeout` ms (20 s).
 *
 * @throws {Error} that says what did not come
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeout = 20_000,
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const end = Date.now() + timeout
  for (let pause = 10; ; pause = Math.min(1.2 * pause, 50)) {
    const found = await condition()
    if (found) return found as Exclude<T, false | null | undefined | 0 | ''>
    if (Date.now() > end) throw new Error(`Waited ${timeout} ms in vain: ${what}.`)
    await sleep(pause)
  }
}
