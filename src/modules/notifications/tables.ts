import {
  bigint,
  boolean,
  check,
  createdAt,
  eventTables,
  id,
  idempotencyTable,
  index,
  instant,
  integer,
  jsonb,
  pgSchema,
  sql,
  text,
  uniqueIndex,
  uuid,
} from '../../platform/kit/tables.ts'
import type { Kind, Preferences } from './kinds.ts'

export const schema = pgSchema('notifications')

/**
 * What this module knows of a user: where to reach them, what they want, and how many notifications they have had. A row
 * may come before anything is known. When the account is gone it stays, empty, so that what comes late makes nothing new.
 */
export const recipients = schema.table('recipients', {
  userId: uuid('user_id').primaryKey(),
  email: text('email'),
  firstName: text('first_name'),
  /** Of the users module's event that told the two above: an older one changes nothing. */
  sequence: bigint('sequence', { mode: 'number' }).notNull().default(0),
  /** Counts their notifications. Locked until the commit, so the numbers follow the order of commits. */
  notified: bigint('notified', { mode: 'number' }).notNull().default(0),
  phone: text('phone'),
  /** Null: as by default. */
  kinds: jsonb('kinds').$type<Preferences['kinds']>(),
  /** Of `phone` and `kinds`. */
  version: integer('version').notNull().default(0),
  deletedAt: instant('deleted_at'),
})

export const notifications = schema.table(
  'notifications',
  {
    id: id(),
    userId: uuid('user_id').notNull(),
    /** Its place among the user's notifications; not without gaps. */
    sequence: bigint('sequence', { mode: 'number' }).notNull(),
    kind: text('kind').$type<Kind>().notNull(),
    text: text('text').notNull(),
    link: text('link'),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    readAt: instant('read_at'),
  },
  (table) => [
    uniqueIndex('notifications_of_user').on(table.userId, table.sequence),
    index('notifications_unread').on(table.userId, table.sequence).where(sql`read_at is null`),
  ],
)

/** What is to leave the system, or has left it: mail, text messages, web push. */
export const outgoing = schema.table(
  'outgoing',
  {
    /** The same at each attempt, and told to whoever gets it, so that a repetition can be known. */
    id: id(),
    channel: text('channel').$type<'email' | 'sms' | 'push'>().notNull(),
    /** Null when it goes to an address and not to a user. */
    userId: uuid('user_id'),
    /** An address, a telephone number, or the id of a push subscription. */
    to: text('to').notNull(),
    subject: text('subject'),
    /** Emptied when it has left, since there may be secrets in it; kept where there is nowhere to send it. */
    text: text('text').notNull(),
    html: text('html'),
    status: text('status').$type<'queued' | 'sent' | 'failed'>().notNull().default('queued'),
    attempts: integer('attempts').notNull().default(0),
    dueAt: instant('due_at').notNull().default(sql`now()`),
    lastError: text('last_error'),
    /** What made it necessary, for traces. */
    traceparent: text('traceparent'),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    sentAt: instant('sent_at'),
  },
  (table) => [
    index('outgoing_due').on(table.channel, table.dueAt).where(sql`status = 'queued'`),
    index('outgoing_done').on(table.createdAt).where(sql`status <> 'queued'`),
    index('outgoing_of_user').on(table.userId),
    index('outgoing_to').on(sql`lower("to")`),
  ],
)

/** Browsers that get web push. */
export const subscriptions = schema.table(
  'subscriptions',
  {
    id: id(),
    userId: uuid('user_id').notNull(),
    endpoint: text('endpoint').notNull(),
    p256dh: text('p256dh').notNull(),
    auth: text('auth').notNull(),
    createdAt: createdAt(),
  },
  (table) => [
    uniqueIndex('subscriptions_endpoint').on(table.endpoint),
    index('subscriptions_of_user').on(table.userId),
  ],
)

/** The one pair of keys for web push, where the environment has none. */
export const pushKeys = schema.table(
  'push_keys',
  {
    one: boolean('one').primaryKey().default(true),
    publicKey: text('public_key').notNull(),
    privateKey: text('private_key').notNull(),
  },
  () => [check('push_keys_one', sql`one`)],
)

export const { outboxNew, outbox, outboxKeys, outboxDeliveries, outboxHistory, inbox, inboxKeys, inboxDone } =
  eventTables(schema)
export const idempotencyKeys = idempotencyTable(schema)
