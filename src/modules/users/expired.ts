import type { ModuleApp } from '../../platform/kit/module.ts'
import { sql } from '../../platform/kit/tables.ts'
import type { users as contract } from './contract.ts'
import { oneTimeTokens, refreshTokens } from './tables.ts'

/** Rows removed by one statement. */
const BATCH = 1_000

/** Removes tokens that are good for nothing any more, once an hour. */
export function removeExpired(app: ModuleApp<typeof contract>): void {
  app.sweep({
    name: 'expired tokens',
    every: 3_600_000,
    async run() {
      for (const table of [refreshTokens, oneTimeTokens]) {
        const some = sql`
          delete from ${table} where hash = any(array(
            select hash from ${table} where expires_at < now() limit ${BATCH} for update skip locked))`
        while ((await app.db.execute(some)).count === BATCH);
      }
    },
  })
}
