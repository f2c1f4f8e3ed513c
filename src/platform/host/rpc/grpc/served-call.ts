import type { Metadata, ServerWritableStream, StatusObject } from '@grpc/grpc-js'
import { BadInput, CallFailed, DeadlineExceeded } from '../../../kit/errors.ts'
import type { Gate } from '../../admission.ts'
import type { Codec } from '../../codec.ts'
import { type Caller, DEFAULT_TIMEOUT, RequestContext, type Waiter } from '../../request-context.ts'
import type { Span } from '../../tracing/tracer.ts'
import type { Target } from '../target.ts'
import { told } from '../told.ts'
import { isHeavier, MAX_OUTPUT } from '../wire.ts'
import { IDEMPOTENCY_METADATA, textOf } from './metadata.ts'
import type { Method } from './service.ts'
import { encodeStatus } from './status.ts'

/** To the far side it is unary. As a stream it can give a message before the status of an error: see `status.ts`. */
export type IncomingCall = ServerWritableStream<Buffer, Buffer>

/** How a call is refused. */
export type Refusal = Pick<StatusObject, 'code' | 'details'> & { metadata?: Metadata }

/** A procedure that this process serves. */
export interface ServedProcedure {
  readonly module: string
  readonly name: string
  readonly method: Method
  readonly input: Codec
  readonly output: Codec
  readonly target: Target
  readonly gate: Gate | undefined
}

/** One call as it is served: answered once, by its procedure or when its time is over. */
export class ServedCall implements Waiter {
  previous: Waiter | undefined
  next: Waiter | undefined
  readonly #procedure: ServedProcedure
  readonly #call: IncomingCall
  readonly #context: RequestContext
  #answered = false
  #span: Span | undefined

  /** The call has passed the gate, and leaves it when it has its answer. */
  constructor(procedure: ServedProcedure, call: IncomingCall, from: Caller) {
    this.#procedure = procedure
    this.#call = call
    this.#context = contextOf(call, from)
  }

  run(): void {
    const { module, name } = this.#procedure
    this.#span = this.#context.begin(`${module}.${name}`, 'server', { 'seam.request_id': this.#context.requestId })
    this.#context.await(this)
    this.#call.on('cancelled', () => this.#context.end())
    void this.#context.run(() => this.#work())
  }

  expire(): void {
    this.#failed(new DeadlineExceeded(this.#procedure.module))
  }

  async #work(): Promise<void> {
    const { module, name, method, input, output, target } = this.#procedure
    try {
      const value = this.#input()
      if (!input.check(value)) throw new BadInput(module, input.faults(value))
      const json = output.encode(await target.invoke(value, this.#context))
      if (isHeavier(json, MAX_OUTPUT)) throw new CallFailed(module, name)
      this.#answer(method.response.encode(json))
    } catch (error) {
      this.#failed(target.failure(error))
    }
  }

  #input(): unknown {
    const { module, method } = this.#procedure
    try {
      return method.request.decode(this.#call.request)
    } catch (error) {
      throw new BadInput(module, [{ path: '', message: (error as Error).message }])
    }
  }

  #failed(error: Error): void {
    const { failure, written } = told(this.#procedure, error, encodeStatus)
    this.#answer(written.message, written.status, failure)
  }

  #answer(message: Buffer | undefined, refusal?: Refusal, failure?: Error): void {
    if (this.#answered) return
    this.#answered = true
    this.#span?.end(failure)
    this.#procedure.gate?.leave()
    this.#context.forget(this)
    if (!this.#call.cancelled) {
      if (message) this.#call.write(message)
      if (refusal) this.#call.emit('error', refusal)
      else this.#call.end()
    }
    this.#context.end()
  }
}

function contextOf(call: IncomingCall, from: Caller): RequestContext {
  const { metadata } = call
  const deadline = Number(call.getDeadline())
  const received = {
    requestId: textOf(metadata, 'x-request-id') ?? '',
    traceparent: textOf(metadata, 'traceparent') ?? '',
    timeout: Number.isFinite(deadline) ? Math.max(1, deadline - Date.now()) : DEFAULT_TIMEOUT,
    idempotencyKey: textOf(metadata, IDEMPOTENCY_METADATA) ?? null,
  }
  return RequestContext.received(received, from)
}
