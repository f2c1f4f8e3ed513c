/**
 * Waits for something, but not longer than `milliseconds`. True when it has happened, false when the time was up first.
 *
 * @throws what the work rejects with, if it does so in time
 */
export async function within(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, milliseconds, false)
  return await Promise.race([work.then(() => true), late]).finally(() => clearTimeout(timer))
}
