import type { Instance } from './instance.ts'

/** An instance is an outlier when it takes so many times as long as the middle one … */
const TIMES = 5
/** … and so much longer, in milliseconds: below that nobody notices. */
const LONGER = 20
/** How long an outlier is left alone, in milliseconds; then what was measured of it is forgotten, and one request tries it. */
const PAUSE = 5_000

/**
 * Leaves out instances that are there but much slower than the others: passively, by what requests took, and never more
 * than half of all, for when all are slow it is no instance's fault.
 */
export function leaveOutSlow(instances: readonly Instance[], now = performance.now()): void {
  for (const instance of instances) instance.judge()
  const measured = instances.filter(({ milliseconds }) => milliseconds > 0)
  if (measured.length < 2) return
  const times = measured.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b)
  const middle = times[Math.floor((times.length - 1) / 2)]!
  let left = Math.floor(instances.length / 2) - instances.filter((instance) => instance.isLeftOut(now)).length
  for (const instance of measured.toSorted((a, b) => b.milliseconds - a.milliseconds)) {
    const { milliseconds } = instance
    if (left <= 0 || milliseconds < middle * TIMES || milliseconds < middle + LONGER) return
    if (instance.isLeftOut(now)) continue
    instance.leaveOut(now + PAUSE)
    instance.outliers++
    left--
  }
}
