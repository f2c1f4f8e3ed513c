import { isDeepStrictEqual } from 'node:util'
import type { CallOptions, Client, Contract } from '../../kit/contract.ts'
import { BadInput, DeadlineExceeded, Divergence, SeamError } from '../../kit/errors.ts'
import type { Cached } from '../cache/cached.ts'
import { codecOf, roundTrip } from '../codec.ts'
import { isIdempotencyKey } from '../idempotency-key.ts'
import { RequestContext, type Waiter } from '../request-context.ts'
import type { CallStatistics, CallStats } from './call-stats.ts'
import type { Adapter, Target } from './target.ts'
import { MAX_INPUT } from './wire.ts'

/**
 * Makes what `app.call(contract)` returns: the contract's procedures as functions, the same for every adapter.
 * A call belongs to the request in whose course it is made, and ends by that request's deadline whatever the far side does.
 *
 * Where the contract declares a cache, `cached` answers what it can.
 *
 * With `strict`, arguments must survive a trip over the network unchanged, arrive frozen, and stay as they are meanwhile.
 */
export function createClient<C extends Contract>(
  contract: C,
  options: {
    caller: string
    adapter: Adapter
    strict: boolean
    statistics: CallStatistics
    cached?: Cached | undefined
  },
): Client<C> {
  const { caller, adapter, cached } = options
  const client: Record<string, unknown> = {}
  for (const name of Object.keys(contract.procedures)) {
    const reached = adapter.target(caller, contract, name)
    const target = cached?.target(caller, contract, name, reached) ?? reached
    client[name] = callable(contract, name, options.strict ? strictly(contract, name, target) : target, options)
  }
  return Object.freeze(client) as Client<C>
}

function callable(
  contract: Contract,
  name: string,
  target: Target,
  options: { caller: string; adapter: Adapter; statistics: CallStatistics },
) {
  const module = contract.name
  const {
    caller,
    adapter: { kind },
  } = options
  const { input: schema, timeout: longest } = contract.procedures[name]!
  const codec = codecOf(schema)
  const stats = options.statistics.of(caller, module, name, kind)

  const start = (input: unknown, context: RequestContext): Promise<unknown> => {
    if (context.isOver()) return Promise.reject(new DeadlineExceeded(module))
    return new Promise((resolve, reject) => {
      const call = new PendingCall(module, stats, context, resolve, reject)
      context.await(call)
      try {
        Promise.resolve(target.invoke(input, context)).then(
          (output) => call.answered(output),
          (error) => call.failed(target.failure(error)),
        )
      } catch (error) {
        call.failed(target.failure(error))
      }
    })
  }

  return (input: unknown, callOptions?: CallOptions): Promise<unknown> => {
    if (!codec.check(input)) {
      return Promise.reject(new BadInput(module, codec.faults(input), `${module}.${name} was called with a bad input.`))
    }
    const request = RequestContext.current()
    // The key of a call is not meant for the calls that are made in its course.
    if (request && !callOptions && longest === undefined && request.idempotencyKey === undefined && !request.span)
      return start(input, request)
    const key = callOptions?.idempotencyKey
    if (key !== undefined && !isIdempotencyKey(key)) {
      const fault = { path: '/idempotencyKey', message: 'must be 1 to 255 characters of ASCII, without spaces' }
      return Promise.reject(new BadInput(module, [fault], `${module}.${name} was called with a bad idempotency key.`))
    }
    const timeouts = [callOptions?.timeout, longest].filter((timeout) => timeout !== undefined)
    const own = request
      ? request.within(Math.min(...timeouts))
      : new RequestContext(timeouts.length > 0 ? { timeout: Math.min(...timeouts) } : {})
    own.caller = caller
    own.idempotencyKey = key
    const span =
      request?.span &&
      own.begin(`${module}.${name}`, kind === 'local' ? 'internal' : 'client', { 'seam.caller': caller })
    const answer = own.run(() => start(input, own))
    if (span)
      answer.then(
        () => span.end(),
        (error) => span.end(error),
      )
    return answer.finally(() => {
      request?.forget(own)
      own.end()
    })
  }
}

/** A call under way. It ends once: by its answer, or by the deadline; an answer that comes too late is no second end. */
class PendingCall implements Waiter {
  previous: Waiter | undefined = undefined
  next: Waiter | undefined = undefined
  private readonly module: string
  private readonly stats: CallStats
  private readonly context: RequestContext
  private readonly began: number
  private readonly resolve: (output: unknown) => void
  private readonly reject: (error: Error) => void
  private over = false

  constructor(
    module: string,
    stats: CallStats,
    context: RequestContext,
    resolve: (output: unknown) => void,
    reject: (error: Error) => void,
  ) {
    this.module = module
    this.stats = stats
    this.context = context
    this.began = stats.began()
    this.resolve = resolve
    this.reject = reject
  }

  answered(output: unknown): void {
    if (this.end()) this.resolve(output)
  }

  failed(error: Error): void {
    if (this.end(error instanceof SeamError ? error.code : 'CallFailed')) this.reject(error)
  }

  expire(): void {
    this.failed(new DeadlineExceeded(this.module))
  }

  private end(failure?: string): boolean {
    if (this.over) return false
    this.over = true
    this.context.forget(this)
    this.stats.ended(this.began, failure)
    return true
  }
}

function strictly(contract: Contract, name: string, target: Target): Target {
  const codec = codecOf(contract.procedures[name]!.input)
  return {
    failure: (error) => target.failure(error),
    async invoke(input, context) {
      const { value, difference } = roundTrip(codec, input, MAX_INPUT)
      if (difference)
        throw new Divergence(contract.name, name, `the input would not survive a remote call: ${difference}`)
      const answer = (async () => target.invoke(value, context))()
      await answer.catch(() => {})
      if (!isDeepStrictEqual(roundTrip(codec, input, MAX_INPUT).value, value)) {
        throw new Divergence(contract.name, name, 'the caller changed the input while the call was under way')
      }
      return answer
    },
  }
}
