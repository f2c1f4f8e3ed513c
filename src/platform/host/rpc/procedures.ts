import type { FastifyBaseLogger } from 'fastify'
import { Type } from 'typebox'
import type { CallContext } from '../../kit/call-context.ts'
import type { Contract } from '../../kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  Divergence,
  IdempotencyKeyReused,
  IdempotencyResultLost,
  SeamError,
  Unavailable,
} from '../../kit/errors.ts'
import { codecOf, deepFreeze, roundTrip } from '../codec.ts'
import { meaningOf } from '../data/database-errors.ts'
import type { Adapter, Target } from './target.ts'
import { MAX_OUTPUT } from './wire.ts'

/** What any procedure may throw for its module, whatever its contract names. */
const OF_ANY_PROCEDURE = [BadInput, CallFailed, IdempotencyKeyReused, IdempotencyResultLost]

type Handler = (input: unknown, context: CallContext) => unknown

/**
 * The procedures that this process implements. As an {@link Adapter} it is the local one: a call is a function call.
 * Servers of remote adapters answer from it as well, so that all callers meet the same behaviour.
 *
 * With `strict`, results must survive a trip over the network unchanged ({@link Divergence} if not) and arrive frozen.
 */
export class Procedures implements Adapter {
  readonly kind = 'local'
  readonly #targets = new Map<string, Target>()
  readonly #strict: boolean
  readonly #log: FastifyBaseLogger

  constructor(options: { strict: boolean; log: FastifyBaseLogger }) {
    this.#strict = options.strict
    this.#log = options.log
  }

  /** @returns the procedures of the contract that have no implementation, and those that it does not name */
  implement(contract: Contract, handlers: Record<string, Handler>): string[] {
    for (const [name, handler] of Object.entries(handlers)) {
      const failure = (error: unknown) => this.#failure(contract, name, error)
      const invoke = this.#strict && contract.procedures[name] ? strictly(contract, name, handler) : handler
      this.#targets.set(`${contract.name}.${name}`, { invoke, failure })
    }
    const [named, given] = [Object.keys(contract.procedures), Object.keys(handlers)]
    return [
      ...named
        .filter((name) => !given.includes(name))
        .map((name) => `"${contract.name}" does not implement its procedure "${name}".`),
      ...given
        .filter((name) => !named.includes(name))
        .map((name) => `"${contract.name}" implements "${name}", which its contract does not name.`),
    ]
  }

  target(_caller: string, contract: Contract, procedure: string): Target {
    const key = `${contract.name}.${procedure}`
    // Looked up at the first call: modules are built in turn, and may ask for each other before all are there.
    let found: Target | undefined
    const get = () => {
      found ??= this.#targets.get(key)
      if (!found) throw new Unavailable(contract.name)
      return found
    }
    return {
      invoke(input, context) {
        if (context.idempotencyKey !== undefined) context.keyed = { procedure, input }
        return (found ?? get()).invoke(input, context)
      },
      failure: (error) => found?.failure(error) ?? (error as Error),
    }
  }

  #failure(contract: Contract, procedure: string, error: unknown): Error {
    if (error instanceof DeadlineExceeded || error instanceof Unavailable || error instanceof Divergence) return error
    if (error instanceof SeamError && error.module === contract.name) {
      if (OF_ANY_PROCEDURE.some((kind) => error instanceof kind)) return error
      const declared = contract.procedures[procedure]?.throws.includes(error.code)
      const Declared = contract.errors[error.code]
      if (declared && Declared && error instanceof Declared)
        return (this.#strict && divergenceOf(contract, procedure, error)) || error
    }
    const meaning = meaningOf(error, contract.name)
    if (meaning) return meaning
    this.#log.error(
      { err: error, module: contract.name, procedure },
      'a procedure failed with an error that its contract does not name',
    )
    return new CallFailed(contract.name, procedure, { cause: error })
  }
}

/** Details, too, must be what the contract says, and survive a trip over the network. */
function divergenceOf(contract: Contract, procedure: string, error: SeamError): Divergence | undefined {
  const shape = contract.errors[error.code]!.shape.details
  if (!shape && error.details === undefined) return undefined
  const codec = codecOf(shape ?? Type.Never())
  const faults = codec.faults(error.details).map((fault) => `${fault.path} ${fault.message}`)
  const wrong = faults.length > 0 ? faults.join(', ') : roundTrip(codec, error.details, MAX_OUTPUT).difference
  deepFreeze(error.details)
  return wrong ? new Divergence(contract.name, procedure, `the details of ${error.code}: ${wrong}`) : undefined
}

function strictly(contract: Contract, procedure: string, handler: Handler): Handler {
  const codec = codecOf(contract.procedures[procedure]!.output)
  return async (input, context) => {
    const output = await handler(deepFreeze(input), context)
    const faults = codec.faults(output)
    const complaint = faults.length > 0 ? faults.map((fault) => `${fault.path} ${fault.message}`).join(', ') : undefined
    if (complaint)
      throw new Divergence(contract.name, procedure, `the result is not what the contract says: ${complaint}`)
    const { value, difference } = roundTrip(codec, output, MAX_OUTPUT)
    if (difference)
      throw new Divergence(contract.name, procedure, `the result would not survive a remote call: ${difference}`)
    deepFreeze(output)
    return value
  }
}
