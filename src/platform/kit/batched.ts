import { AsyncLocalStorage } from 'node:async_hooks'
import DataLoader from 'dataloader'
import { reading } from './reading.ts'

/** So many keys are read at once. */
const LARGEST = 100

/**
 * Reads by key that are asked for at the same time share one reading: while the process is busy, many requests want one row
 * each, and a statement for all of them costs little more than for one. Nobody waits for others: what has been asked for
 * by the end of the event loop's turn is read together, and nothing is kept. So the reading belongs to none of those who
 * asked: it does not end with the first one's request. Only those who may read from a replica share one reading from there.
 *
 * @param read reads the values of 1 to 100 keys; a key that the map lacks has none. If it fails, it fails for all of them.
 * @example
 *   const postById = batched(async (ids: readonly string[]) => new Map((await select(ids)).map((row) => [row.id, row])))
 *   const post = await postById(id)
 */
export function batched<V>(read: (keys: readonly string[]) => Promise<ReadonlyMap<string, V>>) {
  const apart = AsyncLocalStorage.snapshot()
  const loaderFrom = (from: object | undefined) =>
    new DataLoader<string, V | undefined>(
      async (keys) => {
        const values = await apart(() => (from ? reading.run({ from }, read, keys) : read(keys)))
        return keys.map((key) => values.get(key))
      },
      { cache: false, maxBatchSize: LARGEST, batchScheduleFn: setImmediate },
    )
  const loader = loaderFrom(undefined)
  const others = new WeakMap<object, typeof loader>()
  const other = (from: object) => {
    const known = others.get(from) ?? loaderFrom(from)
    others.set(from, known)
    return known
  }
  return (key: string): Promise<V | undefined> => {
    const from = reading.getStore()?.from
    return (from ? other(from) : loader).load(key)
  }
}
