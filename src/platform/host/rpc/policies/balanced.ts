import { SeamError } from '../../../kit/errors.ts'
import type { Balancer } from '../../balancing/balancer.ts'
import type { Dispatch, Transport } from '../remote-call.ts'

/** Sends each call to the instance that the balancer chooses, and tells the balancer how it went. */
export function balanced({ transport, balancer }: { transport: Transport; balancer: Balancer }): Dispatch {
  return async (call) => {
    const instance = balancer.pick(call.contract.name)
    instance.began()
    try {
      const answer = await transport.send(instance, call)
      instance.ended('answered')
      return answer
    } catch (error) {
      instance.ended(error instanceof SeamError && error.status < 500 ? 'answered' : 'failed')
      throw error
    }
  }
}
