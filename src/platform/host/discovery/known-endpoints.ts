import { isDeepStrictEqual } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import type { Endpoint } from './discovery.ts'

const NONE: readonly Endpoint[] = []

/**
 * The instances of modules as they were last found. An answer that names none counts as no answer, since the last one is
 * never worse: what has really gone is left out by the balancer. That a module cannot be found is logged once, and once
 * more when it can be again.
 */
export class KnownEndpoints {
  readonly #by: string
  readonly #log: FastifyBaseLogger
  readonly #found = new Map<string, readonly Endpoint[]>()
  readonly #failing = new Set<string>()

  /** @param by who is asked, for the log: `DNS` */
  constructor(by: string, log: FastifyBaseLogger) {
    this.#by = by
    this.#log = log
  }

  /** The same list until it changes. */
  of(module: string): readonly Endpoint[] {
    return this.#found.get(module) ?? NONE
  }

  found(module: string, endpoints: readonly Endpoint[]): void {
    if (endpoints.length === 0) {
      this.failed(module, new Error('No instance is named.'))
      return
    }
    const origins = new Map(endpoints.map((endpoint) => [endpoint.origin, endpoint]))
    const sorted = [...origins.values()].sort((one, other) => (one.origin < other.origin ? -1 : 1))
    if (!isDeepStrictEqual(sorted, this.of(module))) this.#found.set(module, sorted)
    if (this.#failing.delete(module)) this.#log.info({ module }, `${this.#by} finds instances of the module again`)
  }

  failed(module: string, error: unknown): void {
    if (this.#failing.has(module)) return
    this.#failing.add(module)
    const consequence = this.of(module).length > 0 ? 'those known last are asked meanwhile' : 'it cannot be asked yet'
    this.#log.warn({ err: error, module }, `${this.#by} does not find instances of the module: ${consequence}`)
  }
}
