import { DeadlineExceeded, Overloaded } from '../../../kit/errors.ts'
import type { Waiter } from '../../request-context.ts'
import type { Dispatch, Policy, RemoteCall } from '../remote-call.ts'

export interface Limits {
  /** Calls that one process has under way to one module (125). */
  atOnce?: number
  /** Calls to one module that wait for one of these to end; further ones are refused at once (125). */
  waiting?: number
}

/**
 * Of all that a process takes on for one module (`BUSY_LIMIT`), at most half may be kept up by one other module that hangs:
 * the other half goes on with what does not need that one.
 */
export const limitsWithin = (busyLimit: number): Limits => ({
  atOnce: Math.ceil(busyLimit / 4),
  waiting: Math.floor(busyLimit / 4),
})

/**
 * Bounds what a module can take from its callers: of the calls to one that hangs, so many wait for answers, so many for
 * their turn, and the rest fail at once with {@link Overloaded}. The other modules' calls are not kept waiting by these.
 * Who waits and has no time left, or has gone, makes room.
 */
export function limited({ atOnce = 125, waiting = 125 }: Limits = {}): Policy {
  return (next) => {
    const lanes = new Map<string, Lane>()
    return (call) => {
      // Whether a module is well must be heard above all when it is busy.
      if (isOfPlatform(call.name)) return next(call)
      const module = call.contract.name
      let lane = lanes.get(module)
      if (!lane) lanes.set(module, (lane = new Lane({ atOnce, waiting })))
      return lane.dispatch(call, next)
    }
  }
}

/** No procedure of a module has such a name. */
const isOfPlatform = (name: string): boolean => name.startsWith('$')

class Lane {
  readonly #atOnce: number
  readonly #most: number
  readonly #waiting = new Set<Waiting>()
  readonly #left = () => this.#next()
  #underWay = 0

  constructor(options: { atOnce: number; waiting: number }) {
    this.#atOnce = options.atOnce
    this.#most = options.waiting
  }

  dispatch(call: RemoteCall, next: Dispatch): Promise<unknown> {
    if (this.#underWay < this.#atOnce) return this.#send(call, next)
    if (this.#waiting.size >= this.#most) return Promise.reject(new Overloaded(call.contract.name))
    return new Promise((resolve, reject) => {
      const waiting = new Waiting(call, {
        begin: () => resolve(this.#send(call, next)),
        giveUp: () => {
          this.#waiting.delete(waiting)
          reject(new DeadlineExceeded(call.contract.name))
        },
      })
      this.#waiting.add(waiting)
      call.context.await(waiting)
    })
  }

  #send(call: RemoteCall, next: Dispatch): Promise<unknown> {
    this.#underWay++
    const answer = next(call)
    answer.then(this.#left, this.#left)
    return answer
  }

  #next(): void {
    this.#underWay--
    const { value: first } = this.#waiting.values().next()
    if (!first) return
    this.#waiting.delete(first)
    first.begin()
  }
}

/** A call that waits for its turn. */
class Waiting implements Waiter {
  previous: Waiter | undefined = undefined
  next: Waiter | undefined = undefined
  readonly #call: RemoteCall
  readonly #then: { begin: () => void; giveUp: () => void }

  constructor(call: RemoteCall, then: { begin: () => void; giveUp: () => void }) {
    this.#call = call
    this.#then = then
  }

  begin(): void {
    this.#call.context.forget(this)
    this.#then.begin()
  }

  expire(): void {
    this.#then.giveUp()
  }
}
