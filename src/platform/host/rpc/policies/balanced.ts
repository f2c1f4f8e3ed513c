import { DeadlineExceeded, SeamError } from '../../../kit/errors.ts'
import type { Balancer } from '../../balancing/balancer.ts'
import type { Outcome } from '../../balancing/instance.ts'
import type { Dispatch, RemoteCall, Transport } from '../remote-call.ts'

/** Sends each call to the instance that the balancer chooses, and tells the balancer how it went. */
export function balanced({ transport, balancer }: { transport: Transport; balancer: Balancer }): Dispatch {
  return async (call) => {
    const instance = balancer.pick(call.contract.name, call.asked)
    call.asked.push(instance)
    instance.began()
    const began = performance.now()
    let outcome: Outcome = 'answered'
    try {
      return await transport.send(instance, call)
    } catch (error) {
      outcome = outcomeOf(call, error)
      throw error
    } finally {
      instance.ended(outcome, outcome === 'answered' ? performance.now() - began : undefined)
    }
  }
}

function outcomeOf(call: RemoteCall, error: unknown): Outcome {
  if (!(error instanceof SeamError)) return 'failed'
  // A module further on has failed; this one is there to say so.
  if (error.module !== call.contract.name) return 'answered'
  if (error instanceof DeadlineExceeded && performance.now() < call.context.deadline) return 'given up'
  return error.status < 500 ? 'answered' : 'failed'
}
