import { createdAt, eventTables, id, integer, pgSchema, text } from '../../platform/kit/tables.ts'

export const schema = pgSchema('users')

export const users = schema.table('users', {
  id: id(),
  /** In lower case; addresses that differ in case only are one address. */
  email: text('email').notNull().unique('users_email'),
  passwordHash: text('password_hash').notNull(),
  firstName: text('first_name').notNull(),
  lastName: text('last_name').notNull(),
  roles: text('roles').array().notNull(),
  /** Counted from the posts module's events. */
  postCount: integer('post_count').notNull().default(0),
  createdAt: createdAt(),
})

export const { outbox, outboxKeys, outboxDeliveries, inbox } = eventTables(schema)
