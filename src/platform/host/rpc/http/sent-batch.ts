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

/** How long an answer may go on when all calls are answered, in milliseconds. */
const ENDING = 1_000

/** A request with some calls in it, on the side that sent it: hands out the answers as they come. */
export class SentBatch implements Dispatcher.DispatchHandler, Sent {
  readonly #module: string
  readonly #instance: Instance
  readonly #entries: readonly Entry[]
  readonly #tell: { cancel: (index: number) => void; ended: () => void }
  readonly #lines = new LineSplitter(MAX_OUTPUT + INDEX)
  #waiting = 0
  /** Whether there is a call in it, and not only cancellations. */
  readonly isAwaited: boolean
  #retryAfter: number | undefined
  #controller: Dispatcher.DispatchController | undefined
  #ending: NodeJS.Timeout | undefined

  /**
   * @param tell.cancel a call of a batch that goes on is not waited for any more, which the far side is to be told
   * @param tell.ended nothing more comes
   */
  constructor(
    module: string,
    instance: Instance,
    entries: readonly Entry[],
    tell: { cancel: (index: number) => void; ended: () => void },
  ) {
    this.#module = module
    this.#instance = instance
    this.#entries = entries
    this.#tell = tell
    for (const [index, entry] of entries.entries()) {
      entry.sent(this, index)
      if (!entry.over) this.#waiting++
    }
    this.isAwaited = this.#waiting > 0
  }

  givenUp(index: number, left: boolean): void {
    this.#waiting--
    if (this.#waiting <= 0) this.#controller?.abort(new Error('Nobody waits for it any more.'))
    else if (left) this.#tell.cancel(index)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.isAwaited && this.#waiting <= 0) controller.abort(new Error('Nobody waits for it any more.'))
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
      if (this.isAwaited && this.#waiting <= 0)
        this.#ending ??= setTimeout(() => controller.abort(new Error('It does not end.')), ENDING).unref()
    } catch (error) {
      controller.abort(error as Error)
    }
  }

  onResponseEnd(): void {
    clearTimeout(this.#ending)
    this.#tell.ended()
    if (this.#waiting > 0) this.#fail(new Error('The answer has ended before it was complete.'))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    clearTimeout(this.#ending)
    this.#tell.ended()
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
