import type { FastifyBaseLogger } from 'fastify'

type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/**
 * The log of one request: a child of the process's log that is made when it is first written to. Most requests write nothing,
 * and to make a child takes as long as to check who asks.
 */
class RequestLog {
  readonly #parent: FastifyBaseLogger
  readonly #bindings: Record<string, unknown>
  #child: FastifyBaseLogger | undefined

  constructor(parent: FastifyBaseLogger, bindings: Record<string, unknown>) {
    this.#parent = parent
    this.#bindings = bindings
  }

  get level() {
    return this.#parent.level
  }
  fatal(...said: unknown[]) {
    this.#write('fatal', said)
  }
  error(...said: unknown[]) {
    this.#write('error', said)
  }
  warn(...said: unknown[]) {
    this.#write('warn', said)
  }
  info(...said: unknown[]) {
    this.#write('info', said)
  }
  debug(...said: unknown[]) {
    this.#write('debug', said)
  }
  trace(...said: unknown[]) {
    this.#write('trace', said)
  }
  silent() {}
  child(bindings: Record<string, unknown>) {
    return this.#made().child(bindings)
  }

  #made(): FastifyBaseLogger {
    this.#child ??= this.#parent.child(this.#bindings)
    return this.#child
  }

  #write(level: Level, said: unknown[]): void {
    const log = this.#made()
    const write = log[level] as (...said: unknown[]) => void
    write.apply(log, said)
  }
}

/** For Fastify's `childLoggerFactory`. */
export const requestLog = (parent: FastifyBaseLogger, bindings: Record<string, unknown>): FastifyBaseLogger =>
  new RequestLog(parent, bindings) as unknown as FastifyBaseLogger
