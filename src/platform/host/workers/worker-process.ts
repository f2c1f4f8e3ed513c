import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { type Answer, type FromWorker, NUMBER, type Question, type Serving, type ToWorker } from './messages.ts'

/** How a worker ended. */
export interface Ending {
  readonly code: number | null
  readonly signal: string | null
}

/** One worker, as the primary sees it. */
export class WorkerProcess {
  readonly number: number
  /** Resolves when it serves; never, if it ends before. */
  readonly ready: Promise<Serving>
  readonly ended: Promise<Ending>
  /** When it began to serve, by `performance.now()`; undefined before. */
  servingSince: number | undefined
  readonly #worker: Worker
  readonly #asked = new Map<number, (answer?: Answer) => void>()
  #questions = 0

  /** @param env what it finds in its environment beside that of the primary */
  constructor(number: number, env: Record<string, string>) {
    this.number = number
    const worker = cluster.fork({ ...env, [NUMBER]: String(number) })
    this.#worker = worker
    // A message that cannot be sent any more is of a worker that has ended, which is heard of anyway.
    worker.on('error', () => {})
    this.ready = new Promise((resolve) => {
      worker.on('message', (message: FromWorker) => {
        if (message.kind === 'answer') return this.#asked.get(message.id)?.(message.answer)
        this.servingSince = performance.now()
        resolve(message.serving)
      })
    })
    this.ended = once(worker, 'exit').then(([code, signal]) => {
      for (const resolve of this.#asked.values()) resolve()
      return { code, signal }
    })
  }

  /** Asks the worker; undefined when it has not answered within `timeout` milliseconds. */
  async ask(question: Question, timeout: number): Promise<Answer | undefined> {
    if (!this.#worker.isConnected()) return undefined
    const id = this.#questions++
    const { promise, resolve } = Promise.withResolvers<Answer | undefined>()
    this.#asked.set(id, resolve)
    this.#worker.send({ kind: 'question', id, question } satisfies ToWorker)
    const timer = setTimeout(resolve, timeout, undefined)
    return promise.finally(() => {
      clearTimeout(timer)
      this.#asked.delete(id)
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#worker.process.kill(signal)
  }
}
