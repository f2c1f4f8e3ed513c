import type { PendingQuery, Row } from 'postgres'
import { RequestContext, type Waiter } from '../request-context.ts'
import { type Span, spanBelow } from '../tracing/tracer.ts'
import type { PoolStats } from './pool-stats.ts'

/** What postgres.js has on its queries and does not declare: it settles them by their own `resolve` and `reject`. */
export interface Settling {
  strings: readonly string[]
  /** `values` where rows are wanted as lists. */
  isRaw?: string | boolean
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
 *
 * @param pool counts it and its time
 * @param inTransaction whether it runs on a connection that its transaction has
 */
export function endingWithRequest<T extends PendingQuery<Row[]>>(
  query: T,
  pool: PoolStats | undefined,
  inTransaction: boolean,
): T {
  const context = RequestContext.current()
  if (!context && !pool) return query
  const statement = new Statement(query, { context, pool, inTransaction })
  if (context?.isOver()) query.cancel()
  else context?.await(statement)
  return query
}

interface StatementOf {
  context: RequestContext | undefined
  pool: PoolStats | undefined
  inTransaction: boolean
}

class Statement implements Waiter {
  previous: Waiter | undefined = undefined
  next: Waiter | undefined = undefined
  private readonly query: PendingQuery<Row[]>
  private readonly of: StatementOf
  private readonly began = performance.now()
  private readonly span: Span | undefined

  constructor(query: PendingQuery<Row[]>, of: StatementOf) {
    this.query = query
    this.of = of
    const settling = query as unknown as Settling
    const { resolve, reject, strings } = settling
    if (of.context?.span) this.span = spanOf(strings[0] ?? '', of.context.span)
    if (of.pool && !of.inTransaction) of.pool.wanted++
    settling.resolve = (rows) => {
      this.settled()
      resolve(rows)
    }
    settling.reject = (error) => {
      this.settled(error)
      reject(error)
    }
  }

  expire(): void {
    this.query.cancel()
  }

  private settled(error?: unknown): void {
    const { context, pool, inTransaction } = this.of
    context?.forget(this)
    this.span?.end(error)
    if (!pool) return
    pool.durations.add(performance.now() - this.began)
    if (error !== undefined) pool.failed++
    if (!inTransaction) pool.wanted--
  }
}

/** How much of a statement a trace shows, in characters. Values are not in its text. */
const SHOWN = 500

function spanOf(text: string, parent: Span): Span | undefined {
  const [word = ''] = text.trimStart().split(/\s/, 1)
  return spanBelow(parent.traceparent, word.toUpperCase(), 'client', {
    'db.system.name': 'postgresql',
    'db.query.text': text.slice(0, SHOWN),
  })
}

/** A transaction was not committed, because nobody waits for its outcome any more. Means what a cancelled statement means. */
export class Abandoned extends Error {
  override readonly name = 'Abandoned'
  readonly code = '57014'

  constructor() {
    super('Nobody waits for the outcome of this transaction any more.')
  }
}
