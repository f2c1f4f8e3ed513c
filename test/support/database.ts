import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { acquireEmbeddedPostgres } from '../../src/platform/host/data/embedded-postgres.ts'

/** A database of the test's own on a real PostgreSQL, dropped at the end. */
export interface TestDatabase {
  url: string
  close(): Promise<void>
}

/**
 * Makes a database, on `TEST_DATABASE_URL` or, for a test file that is run by itself, on an embedded PostgreSQL: a copy of
 * the one that is named, else an empty one.
 */
export async function freshDatabase(template?: string): Promise<TestDatabase> {
  const given = process.env.TEST_DATABASE_URL
  const embedded = given ? undefined : await acquireEmbeddedPostgres({ folder: '.data/test-postgres' })
  const server = given ?? embedded!.url
  const name = `test_${randomBytes(6).toString('hex')}`
  const admin = (run: (sql: postgres.Sql) => Promise<unknown>) => {
    const sql = postgres(server, { max: 1, onnotice: () => {} })
    return run(sql).finally(() => sql.end())
  }
  await admin((sql) => sql.unsafe(`create database ${name}${template ? ` template ${template}` : ''}`))
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    async close() {
      await admin((sql) => sql.unsafe(`drop database if exists ${name} with (force)`))
      await embedded?.release()
    },
  }
}
