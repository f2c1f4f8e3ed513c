import { createRequire } from 'node:module'
import type { PendingQuery, Row, Sql } from 'postgres'
import type { Database } from '../../kit/tables.ts'
import { RequestContext } from '../request-context.ts'
import { withAfterCommit } from './after-commit.ts'
import type { PoolStats } from './pool-stats.ts'
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
 */
export function drizzleOn(sql: Sql, pool?: PoolStats): Database {
  return withAfterCommit(driver.drizzle(alwaysPrepared(sql, pool) as Sql))
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
      // Its connection belongs to others by now.
      if (transaction?.over) throw new Error('This transaction has ended.')
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
    savepoint: (run) => sql.savepoint?.((inner) => run(alwaysPrepared(inner, pool, transaction))),
  }
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
