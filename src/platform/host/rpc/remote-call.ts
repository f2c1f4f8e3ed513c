import type { Contract, Procedure } from '../../kit/contract.ts'
import type { Instance } from '../balancing/instance.ts'
import type { RequestContext } from '../request-context.ts'

/** A call on its way to a module that runs in another process. */
export interface RemoteCall {
  /** The module that calls, or `seam`. */
  readonly caller: string
  readonly contract: Contract
  /** The procedure's name. */
  readonly name: string
  readonly procedure: Procedure
  /** The input as JSON text; checked already. */
  readonly body: string
  /** Ends when nobody waits for the answer any more. */
  readonly context: RequestContext
  /** What makes a command safe to repeat. */
  readonly idempotencyKey: string | undefined
  /** The instances that it was sent to so far. */
  readonly asked: Instance[]
}

/**
 * The cause of an {@link Unavailable}: nothing of the call has left this process, or the far side has refused it unseen, so that
 * to send it again does nothing twice.
 */
export class NotSent extends Error {}

/** The cause of an {@link Unavailable}: the module has answered, with an error that only a later release knows. */
export class NotUnderstood extends Error {}

/** Has a call answered. Rejects with a {@link SeamError}. */
export type Dispatch = (call: RemoteCall) => Promise<unknown>

/** A rule of how calls are made, wrapped around whatever makes them: small, and composed with others in `stack.ts`. */
export type Policy = (next: Dispatch) => Dispatch

/** How one call reaches one instance, and how the instance answers. */
export interface Transport {
  /**
   * Sends a call once, to this instance. Ends by the call's context, whatever the far side does, and tells the far side.
   *
   * @returns the result; whether it has the declared shape is for others to check
   * @throws the errors of the contract, {@link BadInput}, {@link CallFailed}, {@link DeadlineExceeded} as the far side
   *   threw them; {@link Unavailable} for whatever is no answer, because of {@link NotSent} where nobody was asked
   */
  send(instance: Instance, call: RemoteCall): Promise<unknown>
  close(): Promise<void>
}
