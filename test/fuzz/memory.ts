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

/**
 * What has grown between two looks by more than a run of the same length could explain: a leak of 1 KiB a request would
 * be 13 MiB of the heap in 13,000 requests.
 */
export function grown(early: Memory, late: Memory): string[] {
  return [
    ...(late.heap > early.heap * 1.15 + 5 ? [`the heap from ${early.heap} to ${late.heap} MiB`] : []),
    ...(late.resident > early.resident * 1.3 + 40
      ? [`the process from ${early.resident} to ${late.resident} MiB`]
      : []),
  ]
}
