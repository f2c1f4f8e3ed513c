import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Registry } from 'prom-client'
import { exposeCounted } from '../ops/counted.ts'
import { Durations, exposeDurations } from '../ops/durations.ts'

/** The requests with one method to one route. */
interface RouteStats {
  readonly labels: Record<'module' | 'method' | 'route', string>
  /** By the first digit of the status; 0: the client had gone before the answer was complete. */
  readonly byStatus: number[]
  readonly durations: Durations
}

/**
 * Counts and times the requests of a process, exposed as `seam_http_requests_total` and `seam_http_request_seconds` with the
 * labels `module`, `method` and `route`. A route is named by its pattern, and what no route answers is `none`, so that the
 * number of labels does not depend on what clients ask for. Streams without an end are counted and not timed.
 */
export class RouteStatistics {
  readonly #byRoute = new Map<object, Map<string, RouteStats>>()

  constructor(registry: Registry) {
    const all = () => [...this.#byRoute.values()].flatMap((byMethod) => [...byMethod.values()])
    const labelNames = ['module', 'method', 'route', 'status']
    exposeCounted(registry, 'seam_http_requests_total', 'Requests.', labelNames, function* () {
      for (const { labels, byStatus } of all())
        for (const [digit, value] of byStatus.entries())
          if (value > 0) yield { labels: { ...labels, status: digit === 0 ? 'gone' : `${digit}xx` }, value }
    })
    exposeDurations(registry, 'seam_http_request_seconds', 'From the headers of a request to its answer.', all)
  }

  /** @param milliseconds undefined where it says nothing how long it took */
  ended(request: FastifyRequest, reply: FastifyReply, milliseconds: number | undefined): void {
    const stats = this.#of(request)
    stats.byStatus[reply.raw.writableFinished ? Math.floor(reply.raw.statusCode / 100) : 0]!++
    if (milliseconds !== undefined) stats.durations.add(milliseconds)
  }

  #of({ routeConfig, method, is404 }: FastifyRequest): RouteStats {
    let byMethod = this.#byRoute.get(routeConfig)
    if (!byMethod) this.#byRoute.set(routeConfig, (byMethod = new Map()))
    let stats = byMethod.get(method)
    if (!stats) {
      const route = is404 ? 'none' : (routeConfig.url ?? 'none')
      const labels = { module: routeConfig.module ?? 'seam', method, route }
      byMethod.set(method, (stats = { labels, byStatus: [0, 0, 0, 0, 0, 0], durations: new Durations() }))
    }
    return stats
  }
}
