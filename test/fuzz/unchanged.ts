import pLimit from 'p-limit'
import { changed, type Database } from './database.ts'
import type { Request } from './requests.ts'
import { AT_ONCE, type Sender, shown } from './sending.ts'

/** So many are sent between two looks at the database. */
const CHUNK = 200

/** What came out of {@link refusedAgain}. */
export interface Unchanged {
  /** Requests that were refused again, and after which the database was seen to be as before. */
  checked: number
  /** What is wrong, each with the requests that did it. */
  faults: string[]
}

/**
 * Sends refused requests once more and sees that they change nothing. First all of them, for things have happened since:
 * some would be accepted now, and what the others may change for once (a stolen refresh token ends its sign-in) is done.
 * Those that are refused are then sent in chunks, each between two looks at the database.
 */
export async function refusedAgain(
  requests: readonly Request[],
  options: { sender: Sender; database: Database },
): Promise<Unchanged> {
  const { sender, database } = options
  const refused = async (these: readonly Request[]): Promise<Request[]> => {
    const limit = pLimit(AT_ONCE)
    const isRefused = await Promise.all(
      these.map((request) => limit(async () => ((await sender.send(request))?.status ?? 413) >= 400)),
    )
    return these.filter((_request, index) => isRefused[index])
  }
  const change = async (these: readonly Request[]): Promise<boolean> => {
    const before = await database.quiet()
    await refused(these)
    return changed(before, await database.snapshot()).length > 0
  }

  const steady = await refused(requests)
  const faults: string[] = []
  let checked = 0
  let before = await database.quiet()
  for (let start = 0; start < steady.length; start += CHUNK) {
    const these = steady.slice(start, start + CHUNK)
    const again = await refused(these)
    const differences = changed(before, await database.snapshot())
    if (differences.length === 0) {
      checked += again.length
      continue
    }
    const guilty = await search(again, change)
    // Something else may have changed it in the background; what a request does it does again.
    if (guilty) faults.push(`${differences.join(', ')}:\n${shown(guilty)}`)
    before = await database.quiet()
  }
  return { checked, faults }
}

/** Finds one of many that does it; undefined when all together do not do it again. */
async function search<T>(all: readonly T[], does: (some: readonly T[]) => Promise<boolean>): Promise<T | undefined> {
  let left = all
  if (!(await does(left))) return undefined
  while (left.length > 1) {
    const half = left.slice(0, Math.ceil(left.length / 2))
    left = (await does(half)) ? half : left.slice(half.length)
  }
  return left[0]
}
