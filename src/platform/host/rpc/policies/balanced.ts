import { DeadlineExceeded, Overloaded, SeamError, UnknownProcedure } from '../../../kit/errors.ts'
import { type Balancer, NobodyToAsk } from '../../balancing/balancer.ts'
import type { Instance, Outcome } from '../../balancing/instance.ts'
import { type Dispatch, NotSent, NotUnderstood, type RemoteCall, type Transport } from '../remote-call.ts'

/** How many instances are asked for a procedure, at most, while they do not know it. */
const ASKED = 3

/**
 * Sends each call to the instance that the balancer chooses, and tells the balancer how it went. An instance that cannot be
 * reached is passed over for another one, at once and whatever the call does: what has reached nobody can do no harm, and is no
 * more work for anybody. So is one that is of a release which does not know the procedure.
 */
export function balanced({ transport, balancer }: { transport: Transport; balancer: Balancer }): Dispatch {
  const send: Dispatch = (call) => {
    const began = performance.now()
    let instance: Instance
    try {
      instance = balancer.pick(call.contract.name, call.asked, began)
    } catch (error) {
      return Promise.reject(error)
    }
    call.asked.push(instance)
    instance.began(began)
    return transport.send(instance, call).then(
      (answer) => {
        instance.ended('answered', performance.now() - began, began)
        return answer
      },
      (error: unknown) => {
        const outcome = outcomeOf(call, error)
        try {
          ensureAnother(call, error)
        } finally {
          instance.ended(outcome, outcome === 'answered' ? performance.now() - began : undefined, began)
        }
        return send(call)
      },
    )
  }

  /** Throws unless the instance has done nothing and there is another one to ask. */
  const ensureAnother = (call: RemoteCall, error: unknown): void => {
    const module = call.contract.name
    const isUnknown = error instanceof UnknownProcedure && error.module === module
    if (!isUnknown && !hasReachedNobody(error)) throw error
    if (isUnknown && call.asked.length >= ASKED) throw error
    if (!balancer.another(module, call.asked))
      throw isUnknown || balancer.another(module) ? error : new NobodyToAsk(module)
  }
  return send
}

const hasReachedNobody = (error: unknown): boolean => error instanceof SeamError && error.cause instanceof NotSent

function outcomeOf(call: RemoteCall, error: unknown): Outcome {
  if (!(error instanceof SeamError)) return 'failed'
  // A module further on has failed; this one is there to say so.
  if (error.module !== call.contract.name || error.cause instanceof NotUnderstood) return 'answered'
  // An instance that has enough to do is well.
  if (error instanceof UnknownProcedure || error instanceof Overloaded) return 'given up'
  if (error instanceof DeadlineExceeded && performance.now() < call.context.deadline) return 'given up'
  return error.status < 500 ? 'answered' : 'failed'
}
