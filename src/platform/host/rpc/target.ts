import type { Contract } from '../../kit/contract.ts'
import type { RequestContext } from '../request-context.ts'

/** One procedure as an adapter reaches it. */
export interface Target {
  /** Runs the procedure. May throw or reject with anything; {@link Target.failure} says what the caller gets to see. */
  invoke(input: unknown, context: RequestContext): unknown
  /** The error as it arrives at a caller, in this process or any other. */
  failure(error: unknown): Error
}

/** How calls reach modules: in this process, or elsewhere. */
export interface Adapter {
  readonly kind: 'local' | 'remote'
  /** @param caller the name of the calling module, or `seam` for the platform itself */
  target(caller: string, contract: Contract, procedure: string): Target
}
