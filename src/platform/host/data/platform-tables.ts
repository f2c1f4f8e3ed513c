import { index, instant, jsonb, pgSchema, sql, text, uuid } from '../../kit/tables.ts'
import { PLATFORM_SCHEMA } from './migrate.ts'

export const schema = pgSchema(PLATFORM_SCHEMA)

/** Sessions, where there is no Redis to keep them. */
export const sessions = schema.table(
  'sessions',
  {
    id: text('id').primaryKey(),
    userId: uuid('user_id').notNull(),
    data: jsonb('data').notNull(),
    lastUsedAt: instant('last_used_at').notNull().default(sql`now()`),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [index('sessions_expires_at').on(table.expiresAt), index('sessions_user_id').on(table.userId)],
)
