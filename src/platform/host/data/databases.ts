import type { FastifyBaseLogger } from 'fastify'
import postgres, { type Sql } from 'postgres'
import type { Database } from '../../kit/tables.ts'
import { drizzleOn } from './drizzle.ts'
import { PoolStats } from './pool-stats.ts'
import { Replica } from './replica.ts'

/** How long a statement may run in PostgreSQL, in milliseconds: as long as a request may take. */
export const STATEMENT_TIMEOUT = 10_000
/** How long a transaction of a module may wait for its next statement, in milliseconds. */
export const IDLE_TIMEOUT = 60_000
/** How long PostgreSQL may take for a session, in milliseconds: each request with credentials waits for one. */
export const SESSION_TIMEOUT = 2_000
/** Connections per module and process. Mind the product with modules and replicas against `max_connections`. */
const POOL = 10

/** The name of a module's schema is its own; its role's name is made from it. */
export const roleOf = (module: string): string => `seam_${module}`

/** A module's way into its database. */
export interface ModuleDatabase {
  readonly db: Database
  /** The pool itself, for the platform's statements on the module's event tables. */
  readonly sql: Sql
  /** The same, unless there is a pooler in between: for what keeps its connection, as listening does. */
  readonly direct: Sql
  readonly pool: PoolStats
  /** What requests that only read may be answered from. */
  readonly replica: Replica | undefined
  close(): Promise<void>
}

/** postgres.js would ask for the types of lists on its own account, and nobody hears when that fails; drizzle reads lists itself. */
const NO_QUESTIONS = { fetch_types: false }

/**
 * Seconds until a connection that was refused is tried again. postgres.js would wait longer each time that any connection of
 * the pool fails, up to 20 s, and so for that long after a server that was gone for a moment is back.
 */
export const RECONNECT = { backoff: () => 0.1 + Math.random() / 5 }

/** Of statements, on each connection: none waits behind another, and a request to cancel one hits no other. */
const ONE_AT_A_TIME = { max_pipeline: 0 }

/** What a module's database may have beside it. */
export interface Beside {
  /** A replica, to read from. */
  readonly replicaUrl?: string | undefined
  /** A PgBouncer in front of it that gives connections away by the transaction. */
  readonly poolerUrl?: string | undefined
  readonly log: FastifyBaseLogger
}

/**
 * Opens a pool in which every connection runs under the module's role, with the module's schema as its search path. No
 * connection is made before the first query.
 *
 * This keeps a module from using another's tables by mistake. One that says `set role` on purpose gets what the login
 * may do; where that must not be, give the module a login of its own, in its own database URL.
 */
export function openModuleDatabase(module: string, url: string, beside?: Beside): ModuleDatabase {
  const { replicaUrl, poolerUrl, log } = beside ?? {}
  const direct = openPool(module, url, { ...asModule(module), connect_timeout: 5 })
  const sql = poolerUrl ? openPool(module, poolerUrl, BY_TRANSACTION) : direct
  // A replica that is gone must not keep requests waiting that the primary would answer.
  const copy = replicaUrl && openPool(module, replicaUrl, { ...asModule(module), connect_timeout: 1 })
  const pool = new PoolStats(POOL)
  const replica =
    copy && log ? new Replica(module, { primary: sql, sql: copy, pool: new PoolStats(POOL), log }) : undefined
  return {
    db: drizzleOn(sql, pool, replica),
    sql,
    direct,
    pool,
    replica,
    async close() {
      await Promise.all([...new Set([sql, direct, replica?.sql])].map((pool) => pool?.end({ timeout: 1 })))
    },
  }
}

function openPool(
  module: string,
  url: string,
  {
    connection,
    ...options
  }: { prepare?: boolean; connect_timeout: number; connection?: Record<string, string | number> },
): Sql {
  return postgres(url, {
    max: POOL,
    ...ONE_AT_A_TIME,
    idle_timeout: 60,
    onnotice: () => {},
    ...NO_QUESTIONS,
    ...RECONNECT,
    ...options,
    connection: { application_name: `seam ${module}`, ...connection },
  })
}

const asModule = (module: string) => ({
  connection: {
    role: roleOf(module),
    search_path: module,
    statement_timeout: STATEMENT_TIMEOUT,
    idle_in_transaction_session_timeout: IDLE_TIMEOUT,
  },
})

/** The next transaction may find itself on another connection, so nothing is left on one: no settings, no prepared statements. */
const BY_TRANSACTION = { prepare: false, connect_timeout: 5 }

/** Opens a small pool for the platform itself, in which sessions are looked up and written. */
export function openPlatformDatabase(url: string): Sql {
  return postgres(url, {
    max: 4,
    ...ONE_AT_A_TIME,
    idle_timeout: 60,
    connect_timeout: 5,
    onnotice: () => {},
    ...NO_QUESTIONS,
    ...RECONNECT,
    connection: { application_name: 'seam', statement_timeout: SESSION_TIMEOUT } as Record<string, string | number>,
  })
}
