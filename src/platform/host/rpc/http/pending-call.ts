import { DeadlineExceeded } from '../../../kit/errors.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { Waiter } from '../../request-context.ts'
import type { RemoteCall } from '../remote-call.ts'
import { decodeError } from '../wire.ts'
import { CANCEL, callLine, type ReceivedAnswer } from './lines-of-calls.ts'

/** The request in which a line was sent. */
export interface Sent {
  /** @param left true when the caller has gone before the deadline, of which the far side knows itself */
  givenUp(index: number, left: boolean): void
}

/** What takes a line of a batch. */
export interface Entry {
  /** True when its line need not be sent any more. */
  readonly over: boolean
  /** How long its line will be, about. */
  readonly size: number
  line(tokens: SystemTokens): string
  /** Its line is being sent, as one of this batch. */
  sent(batch: Sent, index: number): void
  answered(answer: ReceivedAnswer): void
  failed(error: Error): void
}

/** A call that waits for its answer. It ends once: by that, by a fault, or when its caller waits no more. */
export class PendingCall implements Entry, Waiter {
  previous: Waiter | undefined
  next: Waiter | undefined
  over = false
  private readonly call: RemoteCall
  private readonly resolve: (result: unknown) => void
  private readonly reject: (error: Error) => void
  private batch: Sent | undefined
  private index = 0

  constructor(call: RemoteCall, resolve: (result: unknown) => void, reject: (error: Error) => void) {
    this.call = call
    this.resolve = resolve
    this.reject = reject
  }

  get size(): number {
    return this.call.body.length
  }

  line(tokens: SystemTokens): string {
    const { contract, name, context, idempotencyKey = null, body } = this.call
    const { requestId, traceparent, identity } = context
    const call = {
      procedure: name,
      timeout: context.remaining(),
      requestId,
      traceparent,
      identity: identity && tokens.identity.sign(contract.name, { identity }),
      idempotencyKey,
    }
    return callLine(call, body)
  }

  sent(batch: Sent, index: number): void {
    this.batch = batch
    this.index = index
  }

  answered({ failed, value }: ReceivedAnswer): void {
    if (failed) this.failed(decodeError(this.call.contract, this.call.name, value))
    else if (this.end()) this.resolve(value)
  }

  failed(error: Error): void {
    if (this.end()) this.reject(error)
  }

  expire(): void {
    this.failed(new DeadlineExceeded(this.call.contract.name))
    const left = performance.now() < this.call.context.deadline
    this.batch?.givenUp(this.index, left)
  }

  private end(): boolean {
    if (this.over) return false
    this.over = true
    this.call.context.forget(this)
    return true
  }
}

/** Tells the far side that nobody waits any more for a call in a batch whose other calls go on. */
export class Cancellation implements Entry {
  over = false
  readonly size = 0
  readonly #input: string

  constructor(batch: string, index: number) {
    this.#input = JSON.stringify([batch, index])
  }

  line(): string {
    const nothing = { requestId: '', traceparent: '', identity: null, idempotencyKey: null }
    return callLine({ procedure: CANCEL, timeout: 1_000, ...nothing }, this.#input)
  }

  /** Nobody waits for what is answered. */
  sent(): void {
    this.over = true
  }

  answered(): void {}
  failed(): void {}
}
