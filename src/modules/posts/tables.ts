import { createdAt, eventTables, id, index, instant, pgSchema, sql, text, uuid } from '../../platform/kit/tables.ts'

export const schema = pgSchema('posts')

/** What this module knows of the users who write, so that a post can be shown without asking for them. */
export const authors = schema.table('authors', {
  id: uuid('id').primaryKey(),
  firstName: text('first_name').notNull(),
  lastName: text('last_name').notNull(),
})

export const posts = schema.table(
  'posts',
  {
    id: id(),
    authorId: uuid('author_id')
      .notNull()
      .references(() => authors.id),
    title: text('title').notNull(),
    content: text('content').notNull(),
    tags: text('tags').array().notNull(),
    status: text('status').$type<'draft' | 'published'>().notNull(),
    createdAt: createdAt(),
    updatedAt: instant('updated_at').notNull().default(sql`now()`),
  },
  (table) => [
    index('posts_published').on(table.id).where(sql`status = 'published'`),
    index('posts_author').on(table.authorId, table.id),
  ],
)

export const { outbox, outboxKeys, outboxDeliveries, inbox } = eventTables(schema)
