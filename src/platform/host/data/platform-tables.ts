import { index, instant, jsonb, pgSchema, text } from '../../kit/tables.ts'
import { PLATFORM_SCHEMA } from './migrate.ts'

export const schema = pgSchema(PLATFORM_SCHEMA)

/** Sessions, where there is no Redis to keep them. */
export const sessions = schema.table(
  'sessions',
  {
    id: text('id').primaryKey(),
    data: jsonb('data').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [index('sessions_expires_at').on(table.expiresAt)],
)
