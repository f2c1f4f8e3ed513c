import fc, { type Arbitrary } from 'fast-check'

/** Requests of one kind (those for one operation, or those that are no HTTP), and what is done with each. */
export interface Kind {
  name: string
  property: (count: (send: () => Promise<void>) => Promise<void>) => fc.IAsyncProperty<any>
}

/** Where fast-check finds a failure again; a failure says it. */
export interface Place {
  kind: string
  seed: number
  path: string
}

/** Requests that are sent at most to find a smaller one that fails, too. */
const SHRINKING = 150

export const kindOf = <T>(name: string, requests: Arbitrary<T>, ask: (request: T) => Promise<void>): Kind => ({
  name,
  property: (count) => fc.asyncProperty(requests, (request) => count(() => ask(request))),
})

/**
 * Has fast-check send so many requests of one kind. If one fails it looks for a smaller one that does; what is returned
 * tells of it, and how to send it again.
 */
export async function failureOf({ name, property }: Kind, seed: number, runs: number, path?: string) {
  let left = Number.POSITIVE_INFINITY
  const counted = property(async (send) => {
    if (left-- <= 0) return
    await send().catch((error) => {
      left = Math.min(left, SHRINKING)
      throw error
    })
  })
  const found = await fc.check(counted, { seed, numRuns: runs, ...(path && { path }) })
  if (!found.failed) return undefined
  return [
    `${name}: ${(found.errorInstance as Error | undefined)?.message}`,
    `Made of: ${fc.stringify(found.counterexample?.[0]).slice(0, 2_000)}`,
    `Again: npm run fuzz -- --kind '${name}' --seed ${seed} --path ${found.counterexamplePath ?? '0'}`,
  ].join('\n\n')
}
