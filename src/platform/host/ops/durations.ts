import { Histogram, type Registry } from 'prom-client'

/** Upper bounds, in seconds: from a call in the same process to the deadline of a request. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const BOUNDS_IN_MS = BOUNDS.map((seconds) => seconds * 1000)

/** How long something took, each time: numbers in place, for what happens too often for a histogram with labels. */
export class Durations {
  count = 0
  milliseconds = 0
  /** How many took up to each bound and longer than the one before; the last of them are beyond all bounds. */
  readonly buckets: number[] = new Array(BOUNDS.length + 1).fill(0)

  add(milliseconds: number): void {
    let index = 0
    while (milliseconds > BOUNDS_IN_MS[index]!) index++
    this.buckets[index]!++
    this.count++
    this.milliseconds += milliseconds
  }
}

type Labels = Record<string, string>

/** Exposes {@link Durations} as a histogram in seconds. They are read when somebody scrapes. */
export function exposeDurations(
  registry: Registry,
  name: string,
  help: string,
  all: () => Iterable<{ labels: Labels; durations: Durations }>,
): void {
  new DurationHistogram({ name, help, registers: [registry] }).read = all
}

class DurationHistogram extends Histogram {
  read: Parameters<typeof exposeDurations>[3] = () => []

  /** What `get()` and the registry ask for. */
  async getForPromString() {
    const { name, help } = this as unknown as { name: string; help: string }
    const values = [...this.read()].flatMap(({ labels, durations }) => valuesOf(name, labels, durations))
    return { name, help, type: 'histogram', aggregator: 'sum', values }
  }
}

function valuesOf(name: string, labels: Labels, { buckets, count, milliseconds }: Durations) {
  let upTo = 0
  const cumulative = buckets.map((own, index) => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le: BOUNDS[index] ?? '+Inf' },
    value: (upTo += own),
  }))
  return [
    ...cumulative,
    { metricName: `${name}_sum`, labels, value: milliseconds / 1000 },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
