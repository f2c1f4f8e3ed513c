import type { TSchema } from 'typebox'
import type { Instance } from '../../balancing/instance.ts'
import { codecOf } from '../../codec.ts'
import type { RemoteCall, Transport } from '../remote-call.ts'
import { delayed, type FaultPlan, type Faults, noAnswer } from './plan.ts'

/** A transport whose calls go wrong as a {@link FaultPlan} says. To the policies above it, the network has done it. */
export class FaultyTransport implements Transport {
  readonly #inner: Transport
  readonly #plan: FaultPlan

  constructor(inner: Transport, plan: FaultPlan) {
    this.#inner = inner
    this.#plan = plan
  }

  send(instance: Instance, call: RemoteCall): Promise<unknown> {
    const faults = this.#plan.next(call.contract.name, call.name)
    return faults ? this.#badly(faults, instance, call) : this.#inner.send(instance, call)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  async #badly(faults: Faults, instance: Instance, call: RemoteCall): Promise<unknown> {
    const module = call.contract.name
    await delayed(module, faults, call.context)
    if (faults.has('drop')) throw noAnswer(module, 'the call was dropped.')
    if (faults.has('error')) throw noAnswer(module, 'the instance answered with 503.')
    const send = () => this.#inner.send(instance, call)
    const answered = faults.has('duplicate') ? Promise.race([send(), send()]) : send()
    if (faults.has('drop-answer')) {
      await answered.catch(() => {})
      throw noAnswer(module, 'the answer was dropped.')
    }
    return faults.has('partial') ? partOf(await answered, call.procedure.output) : answered
  }
}

/** Half of the fields of an answer; nothing where that would still be what the contract says. */
function partOf(answer: unknown, output: TSchema): unknown {
  const fields = Object.entries(answer ?? {})
  const part = Object.fromEntries(fields.slice(0, Math.floor(fields.length / 2)))
  return codecOf(output).check(part) ? undefined : part
}
