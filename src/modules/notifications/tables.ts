import {
  createdAt,
  eventTables,
  id,
  index,
  instant,
  integer,
  pgSchema,
  sql,
  text,
  uuid,
} from '../../platform/kit/tables.ts'

export const schema = pgSchema('notifications')

export const notifications = schema.table(
  'notifications',
  {
    id: id(),
    userId: uuid('user_id').notNull(),
    kind: text('kind').notNull(),
    text: text('text').notNull(),
    createdAt: createdAt(),
    readAt: instant('read_at'),
  },
  (table) => [index('notifications_of_user').on(table.userId, table.id)],
)

/** Mail that is to be sent, or was. */
export const emails = schema.table(
  'emails',
  {
    id: id(),
    to: text('to').notNull(),
    subject: text('subject').notNull(),
    text: text('text').notNull(),
    status: text('status').$type<'queued' | 'sent' | 'failed'>().notNull().default('queued'),
    attempts: integer('attempts').notNull().default(0),
    dueAt: instant('due_at').notNull().default(sql`now()`),
    lastError: text('last_error'),
    createdAt: createdAt(),
  },
  (table) => [index('emails_due').on(table.dueAt).where(sql`status = 'queued'`)],
)

export const { outbox, outboxKeys, outboxDeliveries, inbox } = eventTables(schema)
