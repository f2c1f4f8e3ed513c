import { createRequire } from 'node:module'
import type { PendingQuery, Row, Sql } from 'postgres'
import { reading } from '../../kit/reading.ts'
import type { Database } from '../../kit/tables.ts'
import { RequestContext } from '../request-context.ts'
import { withAfterCommit } from './after-commit.ts'
import type { PoolStats } from './pool-stats.ts'
import type { Replica } from './replica.ts'
import { Abandoned, endingWithRequest } from './statement.ts'

// By require() for the reason that kit/tables.ts gives.
const require = createRequire(import.meta.url)
const driver = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js')

/**
 * drizzle on a postgres.js pool, with every query a prepared statement: drizzle's driver asks for that only where a query
 * was built by `.prepare()`, and an unprepared one costs PostgreSQL a parse and the network a second round trip.
 * Statements are kept per connection, so build queries whose text does not vary: `= any($1)` rather than a list.
 *
 * Statements and transactions end with the request in whose course they run; see {@link endingWithRequest}.
 *
 * @param pool counts them
 * @param replica where requests read that may; see {@link readFrom}
 */
export function drizzleOn(sql: Sql, pool?: PoolStats, replica?: Replica): Database {
  const client = alwaysPrepared(sql, pool)
  const db = driver.drizzle((replica ? readFrom(replica, client) : client) as Sql)
  // drizzle reads dates and lists itself, and has told only the pool that it knows.
  if (replica)
    for (const kind of ['parsers', 'serializers'] as const) Object.assign(replica.sql.options[kind], sql.options[kind])
  return withAfterCommit(db)
}

/** A database that is never asked, for describing modules without running them. */
export function drizzleOnNothing(): Database {
  return driver.drizzle.mock()
}

type Run = (client: Client) => unknown
type Begin = (options: string, run: Run, onBegin: (statement: PendingQuery<Row[]>) => void) => Promise<unknown>
type Client = Pick<Sql, 'options' | 'unsafe' | 'begin'> & { savepoint?: (run: Run) => unknown }

function alwaysPrepared(sql: Client, pool: PoolStats | undefined, transaction?: { over: boolean }): Client {
  return {
    options: sql.options,
    unsafe: ((text, parameters) => {
      refuseAfter(transaction)
      return endingWithRequest(sql.unsafe(text, parameters, { prepare: true }), pool, transaction !== undefined)
    }) as Sql['unsafe'],
    begin: ((run: Run) => {
      const context = RequestContext.current()
      const work: Run = async (inner) => {
        const transaction = { over: false }
        try {
          const result = await run(alwaysPrepared(inner, pool, transaction))
          if (context?.isOver()) throw new Abandoned()
          return result
        } finally {
          transaction.over = true
        }
      }
      const begun = (statement: PendingQuery<Row[]>) => void endingWithRequest(statement, pool, true)
      const done = (sql.begin as unknown as Begin)('', work, begun)
      return pool ? counted(done, pool) : done
    }) as unknown as Sql['begin'],
    savepoint: async (run) => {
      refuseAfter(transaction)
      return sql.savepoint?.((inner) => run(alwaysPrepared(inner, pool, transaction)))
    },
  }
}

/** The connection of a transaction that has ended belongs to others. */
function refuseAfter(transaction: { over: boolean } | undefined): void {
  if (transaction?.over) throw new Error('This transaction has ended.')
}

/** What begins so may be read from a replica; should it write all the same, the replica refuses, and the primary is asked. */
const SELECT = /^\s*select\b/i

/**
 * Has requests that may read from the replica do so, each until its first statement that is no `select`, or its first
 * transaction: it must find what it has written.
 */
function readFrom(replica: Replica, primary: Client): Client {
  return {
    ...primary,
    unsafe: ((text, parameters) => {
      const from = reading.getStore()
      if (from?.from === replica) {
        if (SELECT.test(text)) return readOnce(replica, text, parameters, primary)
        from.from = undefined
      }
      return primary.unsafe(text, parameters)
    }) as Sql['unsafe'],
    begin: ((run: Run) => {
      const from = reading.getStore()
      if (from?.from === replica) from.from = undefined
      return (primary.begin as unknown as (run: Run) => unknown)(run)
    }) as unknown as Sql['begin'],
  }
}

function readOnce(replica: Replica, text: string, parameters: Parameters<Sql['unsafe']>[1], primary: Client) {
  const query = replica.sql.unsafe<Row[]>(text, parameters, { prepare: true })
  replica.orPrimary(query, () => primary.unsafe<Row[]>(text, parameters))
  return endingWithRequest(query, replica.pool, false)
}

/** A transaction has a connection, or waits for one, as long as it lasts. */
async function counted(transaction: Promise<unknown>, pool: PoolStats): Promise<unknown> {
  pool.wanted++
  try {
    return await transaction
  } finally {
    pool.wanted--
  }
}
