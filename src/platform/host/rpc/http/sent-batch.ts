import type { IncomingHttpHeaders } from 'node:http'
import type { Dispatcher } from 'undici'
import { Unavailable } from '../../../kit/errors.ts'
import type { Instance } from '../../balancing/instance.ts'
import { NotSent } from '../remote-call.ts'
import { MAX_OUTPUT } from '../wire.ts'
import { LineSplitter } from './line-splitter.ts'
import { readAnswer } from './lines-of-calls.ts'
import type { Entry, Sent } from './pending-call.ts'

/** What a line has beside its result, in bytes. */
const INDEX = 8

/** A request with some calls in it, on the side that sent it: hands out the answers as they come. */
export class SentBatch implements Dispatcher.DispatchHandler, Sent {
  readonly #module: string
  readonly #instance: Instance
  readonly #entries: readonly Entry[]
  readonly #cancel: (index: number) => void
  readonly #lines = new LineSplitter(MAX_OUTPUT + INDEX)
  #waiting: number
  #retryAfter: number | undefined
  #controller: Dispatcher.DispatchController | undefined

  /** @param cancel tells the far side that a call of a batch that goes on is not waited for any more */
  constructor(module: string, instance: Instance, entries: readonly Entry[], cancel: (index: number) => void) {
    this.#module = module
    this.#instance = instance
    this.#entries = entries
    this.#cancel = cancel
    this.#waiting = entries.length
    for (const [index, entry] of entries.entries()) entry.sent(this, index)
  }

  givenUp(index: number, left: boolean): void {
    this.#waiting--
    if (this.#waiting <= 0) this.#controller?.abort(new Error('Nobody waits for it any more.'))
    else if (left) this.#cancel(index)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#waiting <= 0) controller.abort(new Error('Nobody waits for it any more.'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (headers.connection === 'close') this.#instance.drains()
    if (status === 200) return
    const seconds = Number(headers['retry-after'])
    if (status === 503 && seconds > 0) this.#retryAfter = seconds
    controller.abort(new Error(`It answers with ${status}.`))
  }

  onResponseData(controller: Dispatcher.DispatchController, piece: Buffer): void {
    try {
      for (const line of this.#lines.push(piece)) this.#answer(line)
    } catch (error) {
      controller.abort(error as Error)
    }
  }

  onResponseEnd(): void {
    if (this.#waiting > 0) this.#fail(new Error('The answer has ended before it was complete.'))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error)
  }

  #answer(line: string): void {
    const answer = readAnswer(line)
    const entry = this.#entries[answer.index]
    if (!entry) throw new Error('It answers what nobody has asked.')
    if (entry.over) return
    this.#waiting--
    entry.answered(answer)
  }

  #fail(cause: Error): void {
    this.#waiting = 0
    const why = this.#controller ? cause : new NotSent(cause.message, { cause })
    const retryAfter = this.#retryAfter
    for (const entry of this.#entries)
      if (!entry.over) entry.failed(new Unavailable(this.#module, { cause: why, retryAfter }))
  }
}
