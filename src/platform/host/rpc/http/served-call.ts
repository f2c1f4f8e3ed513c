import { BadInput, CallFailed, DeadlineExceeded } from '../../../kit/errors.ts'
import type { Gate } from '../../admission.ts'
import type { Codec } from '../../codec.ts'
import { type Caller, RequestContext, type Waiter } from '../../request-context.ts'
import { type Span, tracing } from '../../tracing/tracer.ts'
import type { Target } from '../target.ts'
import { told } from '../told.ts'
import { isHeavier, MAX_OUTPUT } from '../wire.ts'
import { answerLine, errorLine, type ReceivedCall } from './lines-of-calls.ts'
import type { ReceivedBatch } from './received-batch.ts'

/** A procedure that this process serves. */
export interface ServedProcedure {
  readonly module: string
  readonly name: string
  readonly input: Codec
  readonly output: Codec
  readonly target: Target
}

/** One call as it is served: answered once, by its procedure or when its time is over. */
export class ServedCall implements Waiter {
  previous: Waiter | undefined
  next: Waiter | undefined
  private readonly procedure: ServedProcedure
  private readonly input: unknown
  private readonly context: RequestContext
  private readonly batch: ReceivedBatch
  private readonly index: number
  private readonly gate: Gate | undefined
  private answered = false
  private span: Span | undefined

  constructor(
    procedure: ServedProcedure,
    call: ReceivedCall,
    from: Caller,
    batch: ReceivedBatch,
    index: number,
    gate?: Gate,
  ) {
    this.procedure = procedure
    this.input = call.input
    this.batch = batch
    this.index = index
    this.gate = gate
    this.context = RequestContext.received(call, from)
  }

  run(): void {
    const { procedure, input, context } = this
    this.batch.began(this.index, context)
    if (tracing.tracer)
      this.span = context.begin(`${procedure.module}.${procedure.name}`, 'server', {
        'seam.request_id': context.requestId,
      })
    context.await(this)
    context.run(async () => {
      try {
        if (!procedure.input.check(input)) throw new BadInput(procedure.module, procedure.input.faults(input))
        this.succeeded(await procedure.target.invoke(input, context))
      } catch (error) {
        this.failed(procedure.target.failure(error))
      }
    })
  }

  expire(): void {
    this.failed(new DeadlineExceeded(this.procedure.module))
  }

  /** @throws {Error} when the result is none that JSON can say */
  private succeeded(result: unknown): void {
    const { module, name, output } = this.procedure
    const json = output.encode(result)
    if (isHeavier(json, MAX_OUTPUT)) this.failed(new CallFailed(module, name))
    else this.answer(answerLine(this.index, json))
  }

  private failed(error: Error): void {
    const { failure, written } = told(this.procedure, error, (known) => errorLine(this.index, known))
    this.answer(written, failure)
  }

  private answer(line: string, failure?: Error): void {
    if (this.answered) return
    this.answered = true
    this.span?.end(failure)
    this.gate?.leave()
    this.context.forget(this)
    this.batch.answer(this.index, line)
    this.context.end()
  }
}
