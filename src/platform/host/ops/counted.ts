import { Counter, type Registry } from 'prom-client'

/** Exposes numbers that are counted in place as a counter. They are read when somebody scrapes. */
export function exposeCounted(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  all: () => Iterable<{ labels: Record<string, string>; value: number }>,
): void {
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, value } of all()) this.inc(labels, value)
    },
  })
}
