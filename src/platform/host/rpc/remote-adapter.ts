import type { Contract } from '../../kit/contract.ts'
import { BadInput, CallFailed, SeamError } from '../../kit/errors.ts'
import { codecOf, deepFreeze } from '../codec.ts'
import type { Dispatch } from './remote-call.ts'
import type { Adapter, Target } from './target.ts'
import { isHeavier, MAX_INPUT } from './wire.ts'

/**
 * Calls to modules that run in other processes, whatever carries them: what the transport has in common is done here. Input
 * that cannot travel is refused before it is sent, and an answer that is not what the contract says is none.
 */
export class RemoteAdapter implements Adapter {
  readonly kind = 'remote'
  readonly #dispatch: Dispatch
  readonly #strict: boolean

  constructor(options: { dispatch: Dispatch; strict: boolean }) {
    this.#dispatch = options.dispatch
    this.#strict = options.strict
  }

  target(caller: string, contract: Contract, name: string): Target {
    const module = contract.name
    const procedure = contract.procedures[name]!
    const input = codecOf(procedure.input)
    const output = codecOf(procedure.output)

    return {
      // What is no error of Seam comes from an input that JSON cannot carry.
      failure: (error) => (error instanceof SeamError ? error : new CallFailed(module, name, { cause: error })),
      invoke: async (value, context) => {
        const body = input.encode(value)
        if (isHeavier(body, MAX_INPUT)) throw new BadInput(module, [{ path: '', message: 'weighs more than 1 MiB' }])
        const { idempotencyKey } = context
        const call = { caller, contract, name, procedure, body, context, idempotencyKey, asked: [] }
        const settled = (answer: unknown) => (this.#strict ? deepFreeze(answer) : answer)
        const received = await this.#dispatch(call)
        if (output.check(received)) return settled(received)
        // A callee of the next release may say more.
        const answer = output.known(received)
        if (output.check(answer)) return settled(answer)
        const faults = output.faults(answer).map((fault) => `${fault.path} ${fault.message}`)
        throw new CallFailed(module, name, {
          cause: new Error(`The answer is not what the contract says: ${faults.join(', ')}`),
        })
      },
    }
  }
}
