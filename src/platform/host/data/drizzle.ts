import { createRequire } from 'node:module'
import type { Sql } from 'postgres'
import type { Database } from '../../kit/tables.ts'

// By require() for the reason that kit/tables.ts gives.
const require = createRequire(import.meta.url)
const driver = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js')

/**
 * drizzle on a postgres.js pool, with every query a prepared statement: drizzle's driver asks for that only where a query
 * was built by `.prepare()`, and an unprepared one costs PostgreSQL a parse and the network a second round trip.
 * Statements are kept per connection, so build queries whose text does not vary: `= any($1)` rather than a list.
 */
export function drizzleOn(sql: Sql): Database {
  return driver.drizzle(alwaysPrepared(sql) as Sql)
}

/** A database that is never asked, for describing modules without running them. */
export function drizzleOnNothing(): Database {
  return driver.drizzle.mock()
}

type Client = Pick<Sql, 'options' | 'unsafe' | 'begin'> & { savepoint?: (run: (client: Client) => unknown) => unknown }

function alwaysPrepared(sql: Client, transaction = { over: false }): Client {
  return {
    options: sql.options,
    unsafe: ((text, parameters) => {
      // Its connection belongs to others by now.
      if (transaction.over) throw new Error('This transaction has ended.')
      return sql.unsafe(text, parameters, { prepare: true })
    }) as Sql['unsafe'],
    begin: ((run: (client: Client) => unknown) =>
      sql.begin(async (inner) => {
        const transaction = { over: false }
        try {
          return await run(alwaysPrepared(inner as unknown as Client, transaction))
        } finally {
          transaction.over = true
        }
      })) as unknown as Sql['begin'],
    savepoint: (run) => sql.savepoint?.((inner) => run(alwaysPrepared(inner, transaction))),
  }
}
