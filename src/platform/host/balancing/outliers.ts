import type { Instance } from './instance.ts'

/** An instance is an outlier when it takes so many times as long as the middle one … */
const TIMES = 5
/** … and so much longer, in milliseconds: below that nobody notices. */
const LONGER = 20
/** How long an outlier is left alone, in milliseconds; then what was measured of it is forgotten, and one request tries it. */
const PAUSE = 5_000

/**
 * Leaves out instances that are there but much slower than the others: passively, by what requests took, and never more
 * than half of all, for when all are slow it is no instance's fault. Where some requests take long and most do not, the mean of
 * an instance is high after each of the few, and its median wanders where they are many; both are high only if it is slow.
 */
export function leaveOutSlow(instances: readonly Instance[], now = performance.now()): void {
  for (const instance of instances) instance.judge()
  const measured = instances.filter(({ mean }) => mean > 0)
  if (measured.length < 2) return
  const most = { mean: mostOf(measured.map(({ mean }) => mean)), median: mostOf(measured.map(({ median }) => median)) }
  let left = Math.floor(instances.length / 2) - instances.filter((instance) => instance.isLeftOut(now)).length
  for (const instance of measured.toSorted((a, b) => b.mean - a.mean)) {
    if (left <= 0 || instance.mean < most.mean) return
    if (instance.median < most.median || instance.isLeftOut(now)) continue
    instance.leaveOut(now + PAUSE)
    instance.outliers++
    left--
  }
}

/** From which on one of them is slow. */
function mostOf(times: number[]): number {
  const middle = times.sort((a, b) => a - b)[Math.floor((times.length - 1) / 2)]!
  return Math.max(middle * TIMES, middle + LONGER)
}
