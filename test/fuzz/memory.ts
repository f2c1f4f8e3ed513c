import { setTimeout as sleep } from 'node:timers/promises'
import type { SeamProcess } from '../support/processes.ts'

const MIB = 1024 * 1024

/** What one process holds when it has nothing to do, in MiB. */
export interface Memory {
  heap: number
  resident: number
}

/** For the environment of a process whose memory is looked at. */
export const COLLECTABLE = {
  NODE_OPTIONS: `--expose-gc --import=${new URL('collect-garbage.ts', import.meta.url).pathname}`,
}

/** Has a process collect its garbage, twice and a little apart, and asks its ops port what is left. */
export async function settled(process: SeamProcess, opsUrl: string): Promise<Memory> {
  for (let turn = 0; turn < 2; turn++) {
    process.signal('SIGWINCH')
    await sleep(500)
  }
  const metrics = await (await fetch(`${opsUrl}/metrics`)).text()
  const metric = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]) / MIB
  return { heap: metric('seam_nodejs_heap_size_used_bytes'), resident: metric('seam_process_resident_memory_bytes') }
}

/** The memory after so many requests. */
export interface Look extends Memory {
  requests: number
}

/** When all that is kept for speed should be there: after the second look. */
const EARLY = 1
/** What may come on top, in MiB: a heap is never the same twice, and what the system gives a process even less. */
const SLACK = { heap: 3, resident: 60 }
/** A quarter of a KiB, in MiB: what may remain of each request at most. Of 13,000 requests, a tenth of a KiB remained of each. */
const OF_EACH = 0.25 / 1024

/** What has grown since the early look, in the better of the last two looks: what leaks is in both. */
export function grown(looks: readonly Look[]): string[] {
  const early = looks[EARLY]!
  const late = looks.slice(-2)
  return (['heap', 'resident'] as const).flatMap((kind) => {
    const least = Math.min(...late.map((look) => look[kind]))
    const bound = early[kind] + SLACK[kind] + (looks.at(-1)!.requests - early.requests) * OF_EACH
    return least > bound ? [`${kind}: ${least.toFixed(1)} MiB, more than ${bound.toFixed(1)}`] : []
  })
}
