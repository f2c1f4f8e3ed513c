import type { FastifyBaseLogger } from 'fastify'
import postgres, { type Sql } from 'postgres'
import type { Database } from '../../kit/tables.ts'
import { drizzleOn } from './drizzle.ts'
import { PoolStats } from './pool-stats.ts'
import { Replica } from './replica.ts'

/** How long a statement may run in PostgreSQL, in milliseconds: as long as a request may take. */
const STATEMENT_TIMEOUT = 10_000
/** Connections per module and process. Mind the product with modules and replicas against `max_connections`. */
const POOL = 10

/** The name of a module's schema is its own; its role's name is made from it. */
export const roleOf = (module: string): string => `seam_${module}`

/** A module's way into its database. */
export interface ModuleDatabase {
  readonly db: Database
  /** The pool itself, for the platform's statements on the module's event tables. */
  readonly sql: Sql
  readonly pool: PoolStats
  /** What requests that only read may be answered from. */
  readonly replica: Replica | undefined
  close(): Promise<void>
}

/** postgres.js would ask for the types of lists on its own account, and nobody hears when that fails; drizzle reads lists itself. */
const NO_QUESTIONS = { fetch_types: false }

/** Of statements, on each connection: none waits behind another, and a request to cancel one hits no other. */
const ONE_AT_A_TIME = { max_pipeline: 0 }

/**
 * Opens a pool in which every connection runs under the module's role, with the module's schema as its search path. No
 * connection is made before the first query.
 *
 * This keeps a module from using another's tables by mistake. One that says `set role` on purpose gets what the login
 * may do; where that must not be, give the module a login of its own, in its own database URL.
 *
 * @param read a replica of the database
 */
export function openModuleDatabase(
  module: string,
  url: string,
  read?: { replicaUrl: string; log: FastifyBaseLogger },
): ModuleDatabase {
  const sql = openPool(module, url, 5)
  const pool = new PoolStats(POOL)
  if (!read) return { db: drizzleOn(sql, pool), sql, pool, replica: undefined, close: () => sql.end({ timeout: 1 }) }
  // A replica that is gone must not keep requests waiting that the primary would answer.
  const copy = openPool(module, read.replicaUrl, 1)
  const replica = new Replica(module, { primary: sql, sql: copy, pool: new PoolStats(POOL), log: read.log })
  const close = async () => {
    await Promise.all([sql.end({ timeout: 1 }), copy.end({ timeout: 1 })])
  }
  return { db: drizzleOn(sql, pool, replica), sql, pool, replica, close }
}

function openPool(module: string, url: string, connectTimeout: number): Sql {
  return postgres(url, {
    max: POOL,
    ...ONE_AT_A_TIME,
    idle_timeout: 60,
    connect_timeout: connectTimeout,
    onnotice: () => {},
    ...NO_QUESTIONS,
    connection: {
      application_name: `seam ${module}`,
      role: roleOf(module),
      search_path: module,
      statement_timeout: STATEMENT_TIMEOUT,
      idle_in_transaction_session_timeout: STATEMENT_TIMEOUT * 6,
    } as Record<string, string | number>,
  })
}

/** Opens a small pool for the platform itself: migrations, sessions, notifications. */
export function openPlatformDatabase(url: string): Sql {
  return postgres(url, {
    max: 4,
    idle_timeout: 60,
    connect_timeout: 5,
    onnotice: () => {},
    ...NO_QUESTIONS,
    connection: { application_name: 'seam', statement_timeout: STATEMENT_TIMEOUT * 6 } as Record<
      string,
      string | number
    >,
  })
}
