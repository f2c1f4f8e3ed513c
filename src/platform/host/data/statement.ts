import type { PendingQuery, Row } from 'postgres'
import { RequestContext, type Waiter } from '../request-context.ts'

/** What postgres.js has on its queries and does not declare: it settles them by their own `resolve` and `reject`. */
interface Settling {
  resolve: (rows: unknown) => void
  reject: (error: unknown) => void
}

/**
 * Has a statement end with the request in whose course it runs: when the deadline passes, or the caller has gone, one that
 * waits for a connection is dropped, and one under way is cancelled in PostgreSQL. Either rejects as PostgreSQL does when
 * it cancels (57014). A statement outside of any request runs to its end.
 *
 * A request to cancel travels on a connection of its own and could come late. So the statement's connection does nothing
 * else until PostgreSQL has heard it, and pools must send one statement at a time (`max_pipeline: 0`): this is what
 * patches/postgres+3.4.9.patch makes of `cancel()`.
 */
export function endingWithRequest<T extends PendingQuery<Row[]>>(query: T): T {
  const context = RequestContext.current()
  if (!context) return query
  if (context.isOver()) query.cancel()
  else context.await(new Statement(query, context))
  return query
}

class Statement implements Waiter {
  previous: Waiter | undefined = undefined
  next: Waiter | undefined = undefined
  private readonly query: PendingQuery<Row[]>

  constructor(query: PendingQuery<Row[]>, context: RequestContext) {
    this.query = query
    const settling = query as unknown as Settling
    const { resolve, reject } = settling
    settling.resolve = (rows) => {
      context.forget(this)
      resolve(rows)
    }
    settling.reject = (error) => {
      context.forget(this)
      reject(error)
    }
  }

  expire(): void {
    this.query.cancel()
  }
}

/** A transaction was not committed, because nobody waits for its outcome any more. Means what a cancelled statement means. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned'
  readonly code = '57014'

  constructor() {
    super('Nobody waits for the outcome of this transaction any more.')
  }
}
