import type { Sql } from 'postgres'
import { BootError } from '../boot-error.ts'
import { variable } from '../placement.ts'
import { IDLE_TIMEOUT, roleOf, STATEMENT_TIMEOUT } from './databases.ts'
import { whereIs } from './migrate.ts'
import { untilReachable } from './until-reachable.ts'

/** What PgBouncer has to say to PostgreSQL when it connects, since it would lose a start-up parameter of its clients. */
const connectQuery = (module: string): string =>
  `set role ${roleOf(module)}; set search_path to ${module}; set statement_timeout to ${STATEMENT_TIMEOUT}; ` +
  `set idle_in_transaction_session_timeout to ${IDLE_TIMEOUT}`

/**
 * Looks whether a pooler runs a module under its role: without that nothing would keep it from the tables of others, and
 * nobody would notice.
 *
 * @throws {BootError} when it does not, or cannot be reached within 4 s
 */
export async function checkPooler(sql: Sql, module: string, url: string): Promise<void> {
  const name = `${variable(module)}_DATABASE_POOLER_URL`
  const who = () => untilReachable(async () => await sql`select current_user as role, current_schema as schema`)
  const [found] = await who().catch((cause: Error) => {
    throw new BootError([`${whereIs(url)} cannot be used (${name}): ${cause.message}.`], { cause })
  })
  if (found?.role === roleOf(module) && found.schema === module) return
  const wanted = `connect_query='${connectQuery(module)}'`
  throw new BootError([
    `${whereIs(url)} runs "${module}" as "${found?.role}" (${name}). Its line in PgBouncer's [databases] needs ${wanted}.`,
  ])
}
