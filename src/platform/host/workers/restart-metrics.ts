import { Registry } from 'prom-client'
import { exposeCounted } from '../ops/counted.ts'

/**
 * What the primary says of its workers: `seam_worker_restarts_total`, with the label `worker`. A worker that is started again
 * begins to count anew, so it cannot say this itself.
 */
export function restartMetrics(restarts: () => ReadonlyMap<number, number>): Registry {
  const registry = new Registry()
  exposeCounted(
    registry,
    'seam_worker_restarts_total',
    'How often a worker was started again after it had ended.',
    ['worker'],
    () => [...restarts()].map(([worker, value]) => ({ labels: { worker: String(worker) }, value })),
  )
  return registry
}
