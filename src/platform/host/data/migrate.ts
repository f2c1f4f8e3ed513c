import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { BootError } from '../boot-error.ts'
import { RECONNECT, roleOf } from './databases.ts'
import { untilReachable } from './until-reachable.ts'

const require = createRequire(import.meta.url)

const NEWER =
  'it is of a newer version than this program, which does not know its last migration; start that version, or a later one'

/** Any number will do, as long as every process of the system takes the same: "seam" in ASCII. */
const LOCK = 0x7365616d
/** The first version in which a membership in a role says whether one may take it. */
const OLDEST = 16
/** How long to wait for another process's migration, and for a table that is in use, in milliseconds. */
const PATIENCE = { turn: 60_000, table: 10_000 }

/** The schema of the platform's own tables (sessions). */
export const PLATFORM_SCHEMA = 'seam'

/** A schema that is up to date now, and what was applied for that, oldest first. */
export interface Migrated {
  readonly schema: string
  readonly applied: readonly string[]
}

/**
 * Brings schemas up to date: for each name its schema, its role and the migrations in `<folder>/<name>/`. Safe when many
 * processes do it at once (they take turns by an advisory lock), and quick when there is nothing to do.
 * The login must be a superuser, or the owner of the database with CREATEROLE; where nothing is to be done, it need only
 * be a member of the modules' roles.
 *
 * @throws {BootError} when the database cannot be used, within 4 s; or that names the schema whose migration failed (that one
 *   was rolled back, those before it stay) or that is newer than this program
 */
export async function migrate(
  url: string,
  options: { folder: string; schemas: readonly string[] },
): Promise<Migrated[]> {
  const sql = postgres(url, {
    max: 1,
    connect_timeout: 5,
    onnotice: () => {},
    fetch_types: false,
    ...RECONNECT,
    connection: { application_name: 'seam migration', lock_timeout: PATIENCE.turn } as Record<string, string | number>,
  })
  try {
    await take(sql, url)
    const migrated: Migrated[] = []
    for (const schema of options.schemas)
      migrated.push({ schema, applied: await migrateSchema(sql, schema, join(options.folder, schema)) })
    return migrated
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Waits for its turn. The lock goes with the connection. */
async function take(sql: Sql, url: string): Promise<void> {
  try {
    const [server] = await untilReachable(
      async () => await sql`select current_setting('server_version_num')::int / 10000 as version`,
    )
    if (server?.version < OLDEST) throw new Error(`it is version ${server?.version}, and ${OLDEST} is needed`)
    await sql`select pg_advisory_lock(${LOCK})`
    await sql`select set_config('lock_timeout', ${String(PATIENCE.table)}, false)`
  } catch (error) {
    throw new BootError([`${whereIs(url)} cannot be used: ${reasonOf(error)}.`], { cause: error })
  }
}

async function migrateSchema(sql: Sql, schema: string, folder: string): Promise<string[]> {
  try {
    if (!(await isProvided(sql, schema))) await provide(sql, schema)
    const history = await historyIn(folder)
    const last = await lastApplied(sql, schema)
    if (last > (history.at(-1)?.when ?? 0)) throw new Error(NEWER)
    const pending = history.filter(({ when }) => when > last)
    if (pending.length > 0) {
      const { drizzle } = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js')
      const { migrate } =
        require('drizzle-orm/postgres-js/migrator') as typeof import('drizzle-orm/postgres-js/migrator')
      await migrate(drizzle(sql), {
        migrationsFolder: folder,
        migrationsSchema: schema,
        migrationsTable: '__migrations',
      })
    }
    return pending.map(({ tag }) => tag)
  } catch (error) {
    throw migrationFailed(schema, error)
  }
}

export function migrationFailed(schema: string, error: unknown): BootError {
  return new BootError([`The migration of "${schema}" failed: ${reasonOf(error)}.`], { cause: error })
}

/** What drizzle-kit has written for a schema, oldest first. */
async function historyIn(folder: string): Promise<{ tag: string; when: number }[]> {
  try {
    return JSON.parse(await readFile(join(folder, 'meta', '_journal.json'), 'utf8')).entries
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** drizzle's name for the newest migration in the database: the milliseconds at which it was written. */
async function lastApplied(sql: Sql, schema: string): Promise<number> {
  const table = sql`${sql(schema)}.__migrations`
  const [found] = await sql`select to_regclass(quote_ident(${schema}) || '.__migrations') is not null as there`
  if (!found?.there) return 0
  const [row] = await sql`select coalesce(max(created_at), 0) as last from ${table}`
  return Number(row?.last)
}

/** Whether the schema is there, with a role that may use it and that this login may take. */
async function isProvided(sql: Sql, schema: string): Promise<boolean> {
  const namespace = sql`to_regnamespace(quote_ident(${schema}))`
  const [row] =
    schema === PLATFORM_SCHEMA
      ? await sql`select ${namespace} is not null as ok`
      : await sql`
          select has_schema_privilege(oid, ${namespace}::oid, 'usage') and pg_has_role(current_user, oid, 'set') as ok
          from pg_roles where rolname = ${roleOf(schema)}`
  return row?.ok === true
}

async function provide(sql: Sql, schema: string): Promise<void> {
  if (schema !== PLATFORM_SCHEMA) await provideRole(sql, roleOf(schema))
  await sql`create schema if not exists ${sql(schema)}`
  if (schema === PLATFORM_SCHEMA) return
  const [name, role] = [sql(schema), sql(roleOf(schema))]
  // Tables that are there have come from a dump, without their privileges.
  await sql`grant select, insert, update, delete on all tables in schema ${name} to ${role}`
  await sql`grant usage on all sequences in schema ${name} to ${role}`
  await sql`alter default privileges in schema ${name} grant select, insert, update, delete on tables to ${role}`
  await sql`alter default privileges in schema ${name} grant usage on sequences to ${role}`
  // The last, because it is what says that all of this was done.
  await sql`grant usage on schema ${name} to ${role}`
}

/** Roles belong to the whole server, so another database's migration may make the same one at the same moment. */
async function provideRole(sql: Sql, role: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const [found] =
      await sql`select pg_has_role(current_user, oid, 'set') as mine, current_user as login from pg_roles where rolname = ${role}`
    try {
      if (!found) await sql`create role ${sql(role)} nologin`
      // Who makes a role without being a superuser may hand it out, but not take it, before this.
      if (!found?.mine) await sql`grant ${sql(role)} to current_user`
      return
    } catch (error) {
      const code = (error as { code?: string }).code ?? ''
      if (found && code === '42501') {
        const wanted = `grant "${role}" to "${found.login}"`
        throw new Error(`another login has made the role "${role}"; that one, or a superuser, must say: ${wanted}`)
      }
      if (!['42710', '23505', 'XX000'].includes(code) || attempt >= 10) throw error
    }
  }
}

/** For people: a database, without its password. */
export function whereIs(url: string): string {
  const { host, pathname } = new URL(url)
  return `PostgreSQL at ${host}${pathname}`
}

/** What PostgreSQL, or the network, says; and what to do where a right is missing. */
function reasonOf(error: unknown): string {
  // drizzle wraps the error in one that shows the statement; Node wraps those of several addresses in one without words.
  const { cause, errors } = error as { cause?: unknown; errors?: unknown[] }
  if (cause instanceof Error) return reasonOf(cause)
  if (errors?.[0] instanceof Error) return reasonOf(errors[0])
  const { message, code } = error as { message: string; code?: string }
  if (code === '55P03') return 'another process has been in the way for too long; try again'
  if (code === '42501')
    return `${message}. Log in as the owner of the database with CREATEROLE (alter role … createrole), or as a superuser`
  return message
}
