import type { FastifyBaseLogger } from 'fastify'
import { RequestContext } from './request-context.ts'
import { within } from './within.ts'

/**
 * Runs a task at once when woken and otherwise every `interval` ms or a little sooner, so that the tasks of many processes do
 * not all come at once; never twice at the same time. A failure is logged and
 * the task tried again at the next turn. The timer keeps no process alive.
 *
 * @example const sweep = new Sweep({ name: 'relay', interval: 1000, log, run: async () => relayDueEvents() })
 */
export class Sweep {
  readonly #options: { name: string; interval: number; log: FastifyBaseLogger; run: () => Promise<void> }
  #running: Promise<void> | undefined
  #woken = false
  #timer: NodeJS.Timeout | undefined
  #state: 'idle' | 'started' | 'stopped' = 'idle'

  constructor(options: { name: string; interval: number; log: FastifyBaseLogger; run: () => Promise<void> }) {
    this.#options = options
  }

  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'started'
    this.#timer = setInterval(() => this.wake(), this.#options.interval * (1 - Math.random() / 4))
    this.#timer.unref()
    this.wake()
  }

  /** Runs the task now, or once more if it is running; not in the course of the request that may have woken it. */
  wake(): void {
    if (this.#state !== 'started') return
    this.#woken = true
    this.#running ??= RequestContext.outside(() => this.#loop()).finally(() => {
      this.#running = undefined
      if (this.#woken) this.wake()
    })
  }

  /** Starts no further turn and waits for the one under way, at most `timeout` ms (3 s). */
  async stop(timeout = 3_000): Promise<void> {
    this.#state = 'stopped'
    this.#woken = false
    clearInterval(this.#timer)
    if (this.#running) await within(timeout, this.#running)
  }

  async #loop(): Promise<void> {
    while (this.#woken && this.#state === 'started') {
      this.#woken = false
      try {
        await this.#options.run()
      } catch (error) {
        if (this.#state === 'started')
          this.#options.log.warn(
            { err: error, task: this.#options.name },
            'a background task failed and will be tried again',
          )
        return
      }
    }
  }
}
