import type { Identity } from './permissions.ts'

/** What goes along with a request wherever it goes: through calls, processes and events. */
export interface CallContext {
  /** The user behind the request, verified at the edge; null for nobody or for the system itself. */
  readonly identity: Identity | null
  readonly requestId: string
  /** W3C trace context, as it came or was made. */
  readonly traceparent: string
  /** When the answer is of no use any more: milliseconds on this process's monotonic clock (`performance.now()`). */
  readonly deadline: number
  /** What makes this call of a command safe to repeat, if its caller has said so: do the work in `app.once(context, …)`. */
  readonly idempotencyKey: string | undefined
  /** Aborted when the deadline has passed or the caller has gone. Hand it to whatever takes one. */
  readonly signal: AbortSignal
}
