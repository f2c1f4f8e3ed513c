import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Milliseconds between two looks at whether the process has nothing to do. */
const PAUSE = 500
/** The part of that time in which a process at rest is at work. */
const REST = 0.05

/**
 * Gives back the memory that a start leaves behind (sources, compiled schemas, what was read once), a fourth of all that the
 * process holds, which V8 would keep until it is short of it. It takes some 70 ms in which nothing else runs, so it waits for
 * the first half second without work, and is done once.
 */
export function giveBackMemoryAtRest(): void {
  let before = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const { utilization } = performance.eventLoopUtilization(before)
    before = performance.eventLoopUtilization()
    if (utilization > REST) return
    clearInterval(timer)
    giveBackMemory()
  }, PAUSE).unref()
}

function giveBackMemory(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: object) => void
  setFlagsFromString('--no-expose-gc')
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
