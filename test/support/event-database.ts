import type { Test } from 'tap'
import { openModuleDatabase } from '../../src/platform/host/data/databases.ts'
import { migrate } from '../../src/platform/host/data/migrate.ts'
import { freshDatabase } from './database.ts'
import { eventMigrations } from './event-host.ts'

/** The database of one module with the event tables, and nothing that runs on it; gone when the test is over. */
export async function eventDatabase(t: Pick<Test, 'teardown'>, module: 'alpha' | 'beta') {
  const database = await freshDatabase()
  const migrations = await eventMigrations()
  await migrate(database.url, { folder: migrations.folder, schemas: [module] })
  const { db, sql, close } = openModuleDatabase(module, database.url)
  t.teardown(async () => {
    await close()
    await migrations.remove()
    await database.close()
  })
  return { db, sql, url: database.url }
}
