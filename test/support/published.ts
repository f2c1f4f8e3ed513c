import type { Sql } from 'postgres'
import { until } from './until.ts'

/** In a statement: `published (id, name, key, data, at)`, whatever a module has published, numbered by a relay or not. */
export const publishedBy = (sql: Sql, module: string) => sql`(
  select id, name, key, data, created_at as at from ${sql(module)}.outbox
  union all select id, name, key, data, created_at as at from ${sql(module)}.outbox_new) as published`

/** Waits until all events of a module have taken effect everywhere. */
export const settled = (sql: Sql, ...modules: string[]) =>
  until(`the events of ${modules.join(' and ')} have taken effect`, async () => {
    for (const module of modules) {
      const left = await sql`
        select from ${sql(module)}.outbox_new
        union all select from ${sql(module)}.outbox_deliveries where confirmed_at is null`
      if (left.length > 0) return false
    }
    return true
  })
