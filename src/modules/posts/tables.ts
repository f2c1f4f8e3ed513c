import {
  bigint,
  createdAt,
  customType,
  eventTables,
  id,
  idempotencyTable,
  index,
  instant,
  integer,
  pgSchema,
  primaryKey,
  smallint,
  sql,
  text,
  uuid,
} from '../../platform/kit/tables.ts'

export const schema = pgSchema('posts')

const tsvector = customType<{ data: string }>({ dataType: () => 'tsvector' })
/** Text that is compared byte by byte, so that an index finds what begins with something, in every database. */
const bytewise = customType<{ data: string }>({ dataType: () => 'text collate "C"' })

/**
 * A limit that is written into a statement and not handed over: one that PostgreSQL does not know when it plans, it takes
 * for a tenth of the table.
 */
export const literal = (limit: number): number => sql.raw(String(limit)) as unknown as number

/**
 * What this module knows of users, from their events, so that posts can be read and written while users is away. An author
 * who has deleted their account stays here, without a name, so that nothing that arrives late brings them back.
 */
export const authors = schema.table(
  'authors',
  {
    id: uuid('id').primaryKey(),
    firstName: text('first_name').notNull(),
    lastName: text('last_name').notNull(),
    /** The sequence number of the event that this is from; an event with a lower one comes too late. */
    version: bigint('version', { mode: 'number' }).notNull().default(0),
    deletedAt: instant('deleted_at'),
    /** When all that they had written was gone. */
    clearedAt: instant('cleared_at'),
  },
  (table) => [index('authors_to_clear').on(table.id).where(sql`deleted_at is not null and cleared_at is null`)],
)

export const posts = schema.table(
  'posts',
  {
    id: id(),
    authorId: uuid('author_id')
      .notNull()
      .references(() => authors.id),
    title: text('title').notNull(),
    content: text('content').notNull(),
    /** As `tagsOf` makes them. */
    tags: text('tags').array().notNull(),
    status: text('status').$type<'draft' | 'published'>().notNull(),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
    search: tsvector('search').generatedAlwaysAs(sql`posts.search_of(title, content, tags)`),
  },
  (table) => [
    index('posts_published').on(table.id).where(sql`status = 'published'`),
    index('posts_author').on(table.authorId, table.id),
    index('posts_drafts').on(table.authorId, table.id).where(sql`status = 'draft'`),
    index('posts_search').using('gin', table.search).where(sql`status = 'published'`),
  ],
)

/** The tags of published posts, once more, in the order in which lists need them: for rare tags and common ones alike. */
export const postTags = schema.table(
  'post_tags',
  { tag: text('tag').notNull(), postId: uuid('post_id').notNull() },
  (table) => [primaryKey({ columns: [table.tag, table.postId] })],
)

/** How many published posts have a tag, but for what `tag_changes` still has. */
export const tags = schema.table(
  'tags',
  { name: bytewise('name').primaryKey(), posts: integer('posts').notNull() },
  (table) => [index('tags_unused').on(table.name).where(sql`posts = 0`)],
)

/** What is to be added to the counts of `tags`: written by many at once, which one row for each tag could not be. */
export const tagChanges = schema.table('tag_changes', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  tag: text('tag').notNull(),
  change: smallint('change').notNull(),
})

export const comments = schema.table(
  'comments',
  {
    id: id(),
    postId: uuid('post_id')
      .notNull()
      .references(() => posts.id, { onDelete: 'cascade' }),
    authorId: uuid('author_id')
      .notNull()
      .references(() => authors.id),
    content: text('content').notNull(),
    version: integer('version').notNull().default(1),
    createdAt: createdAt(),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
  },
  (table) => [index('comments_post').on(table.postId, table.id), index('comments_author').on(table.authorId, table.id)],
)

export const idempotencyKeys = idempotencyTable(schema)
export const { outboxNew, outbox, outboxKeys, outboxDeliveries, outboxHistory, inbox, inboxKeys, inboxDone } =
  eventTables(schema)
