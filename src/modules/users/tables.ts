import {
  boolean,
  createdAt,
  customType,
  eventTables,
  id,
  idempotencyTable,
  index,
  instant,
  integer,
  pgSchema,
  sql,
  text,
  uuid,
} from '../../platform/kit/tables.ts'

export const schema = pgSchema('users')

/** Words that can be searched for; see search.ts. */
const tsvector = customType<{ data: string }>({ dataType: () => 'tsvector' })

export const users = schema.table(
  'users',
  {
    id: id(),
    /** In lower case; addresses that differ in case only are one address. */
    email: text('email').notNull().unique('users_email'),
    emailVerified: boolean('email_verified').notNull().default(false),
    passwordHash: text('password_hash').notNull(),
    firstName: text('first_name').notNull(),
    lastName: text('last_name').notNull(),
    roles: text('roles').array().notNull(),
    /** Counted from the posts module's events. */
    postCount: integer('post_count').notNull().default(0),
    /** Counts the changes of what can be seen of the user. */
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
    search: tsvector('search').notNull(),
  },
  // Without a list of pending entries, which every search would have to read.
  (table) => [index('users_search').using('gin', table.search, table.roles).with({ fastupdate: false })],
)

/** Of whom a token is; it goes when they go. */
const userId = () =>
  uuid('user_id')
    .notNull()
    .references(() => users.id, { onDelete: 'cascade' })

/**
 * Refresh tokens, used and unused, by the SHA-256 of each. Those of one session are a family: each was made when the one
 * before was used.
 */
export const refreshTokens = schema.table(
  'refresh_tokens',
  {
    hash: text('hash').primaryKey(),
    sessionId: uuid('session_id').notNull(),
    userId: userId(),
    usedAt: instant('used_at'),
    expiresAt: instant('expires_at').notNull().default(sql`now() + interval '7 days'`),
  },
  (table) => [
    index('refresh_tokens_of_user').on(table.userId, table.sessionId),
    index('refresh_tokens_expires_at').on(table.expiresAt),
  ],
)

/** Tokens that were mailed to a user and are good for one thing, once, by the SHA-256 of each. */
export const oneTimeTokens = schema.table(
  'one_time_tokens',
  {
    hash: text('hash').primaryKey(),
    userId: userId(),
    purpose: text('purpose').$type<'verify-email' | 'reset-password'>().notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [
    index('one_time_tokens_of_user').on(table.userId),
    index('one_time_tokens_expires_at').on(table.expiresAt),
  ],
)

/** Addresses for which a new password was asked, whether they belong to anybody or not, until a sweep looks. */
export const resetRequests = schema.table('reset_requests', { email: text('email').primaryKey() })

export const idempotencyKeys = idempotencyTable(schema)

export const { outboxNew, outbox, outboxKeys, outboxDeliveries, outboxHistory, inbox, inboxKeys, inboxDone } =
  eventTables(schema)
