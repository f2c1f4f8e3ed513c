import { Gauge, type Registry } from 'prom-client'
import { exposeCounted } from '../ops/counted.ts'
import { Durations, exposeDurations } from '../ops/durations.ts'

/** What a module asks of its database, as plain numbers. What the platform asks for it (events, health) is not counted. */
export class PoolStats {
  /** Connections that it has. */
  readonly most: number
  /** Transactions, and statements outside of any: each has a connection, or waits for one. */
  wanted = 0
  failed = 0
  readonly durations = new Durations()

  constructor(most: number) {
    this.most = most
  }
}

/**
 * Exposes the pools of the modules hosted here: `seam_pool_connections`, `seam_pool_wanted`, `seam_statement_seconds` and
 * `seam_statement_failures_total`, each with the label `module`.
 */
export function exposePools(registry: Registry, pools: readonly { name: string; pool: PoolStats }[]): void {
  const gauge = (name: string, help: string, value: (pool: PoolStats) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['module'],
      registers: [registry],
      collect() {
        for (const { name: module, pool } of pools) this.set({ module }, value(pool))
      },
    })
  gauge('seam_pool_connections', 'Connections that a module may have to its database.', ({ most }) => most)
  gauge('seam_pool_wanted', 'Connections that are in use or waited for.', ({ wanted }) => wanted)
  exposeCounted(registry, 'seam_statement_failures_total', 'Statements that failed.', ['module'], () =>
    pools.map(({ name: module, pool }) => ({ labels: { module }, value: pool.failed })),
  )
  exposeDurations(registry, 'seam_statement_seconds', 'How long statements took, with the wait for a connection.', () =>
    pools.map(({ name: module, pool: { durations } }) => ({ labels: { module }, durations })),
  )
}
