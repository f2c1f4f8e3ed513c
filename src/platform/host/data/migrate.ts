import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import postgres, { type Sql } from 'postgres'
import { roleOf } from './databases.ts'

const require = createRequire(import.meta.url)

/** Any number will do, as long as every process of the system takes the same: "seam" in ASCII. */
const LOCK = 0x7365616d

/** The schema of the platform's own tables (sessions). */
export const PLATFORM_SCHEMA = 'seam'

/**
 * Brings schemas up to date: for each name its schema, its role and the migrations in `<folder>/<name>/`. Safe when many
 * processes do it at once (they take turns by an advisory lock), and quick when there is nothing to do.
 * The login needs to be the owner of the database, or a superuser.
 *
 * @throws {Error} that names the schema when a migration fails; its transaction was rolled back
 */
export async function migrate(url: string, options: { folder: string; schemas: readonly string[] }): Promise<void> {
  const sql = postgres(url, {
    max: 1,
    connect_timeout: 10,
    onnotice: () => {},
    connection: { application_name: 'seam migration' },
  })
  try {
    await sql`select pg_advisory_lock(${LOCK})`
    for (const schema of options.schemas) await migrateSchema(sql, schema, join(options.folder, schema))
  } finally {
    await sql.end({ timeout: 5 })
  }
}

async function migrateSchema(sql: Sql, schema: string, folder: string): Promise<void> {
  try {
    if (schema !== PLATFORM_SCHEMA) await provideRole(sql, roleOf(schema))
    await sql`create schema if not exists ${sql(schema)}`
    if (schema !== PLATFORM_SCHEMA) {
      const [name, role] = [sql(schema), sql(roleOf(schema))]
      await sql`grant usage on schema ${name} to ${role}`
      await sql`alter default privileges in schema ${name} grant select, insert, update, delete on tables to ${role}`
      await sql`alter default privileges in schema ${name} grant usage on sequences to ${role}`
    }
    if (!existsSync(folder)) return
    const { drizzle } = require('drizzle-orm/postgres-js') as typeof import('drizzle-orm/postgres-js')
    const migrator = require('drizzle-orm/postgres-js/migrator') as typeof import('drizzle-orm/postgres-js/migrator')
    await migrator.migrate(drizzle(sql), {
      migrationsFolder: folder,
      migrationsSchema: schema,
      migrationsTable: '__migrations',
    })
  } catch (error) {
    throw new Error(`The migration of "${schema}" failed: ${(error as Error).message}`, { cause: error })
  }
}

/** Roles belong to the whole server, so another database's migration may make the same one at the same moment. */
async function provideRole(sql: Sql, role: string): Promise<void> {
  const [found] =
    await sql`select pg_has_role(current_user, oid, 'set') as member from pg_roles where rolname = ${role}`
  if (found?.member) return
  for (let attempt = 1; ; attempt++) {
    try {
      if (!found && attempt === 1) await sql`create role ${sql(role)} nologin`
      await sql`grant ${sql(role)} to current_user`
      return
    } catch (error) {
      const code = (error as { code?: string }).code
      const raced = code === '42710' || code === '23505' || code === 'XX000'
      if (!raced || attempt >= 5) throw error
    }
  }
}
