import { type Static, Type } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { and, desc, eq, lt, newId, sql } from '../../platform/kit/tables.ts'
import { users } from '../users/contract.ts'
import { posts as contract } from './contract.ts'
import { authors, posts } from './tables.ts'

export const Status = Type.Enum(['draft', 'published'])

export const Post = Type.Object({
  id: Id,
  title: Type.String(),
  content: Type.String(),
  tags: Type.Array(Type.String()),
  status: Status,
  author: Type.Object({ id: Id, firstName: Type.String(), lastName: Type.String() }),
  createdAt: Instant,
  updatedAt: Instant,
})
export type Post = Static<typeof Post>

export interface NewPost {
  title: string
  content: string
  tags: string[]
  status: 'draft' | 'published'
}

export type Posts = ReturnType<typeof postsOf>

/** The posts of the module's database. */
export function postsOf(app: ModuleApp<typeof contract>) {
  const { getUser } = app.call(users)
  const columns = {
    id: posts.id,
    title: posts.title,
    content: posts.content,
    tags: posts.tags,
    status: posts.status,
    author: { id: authors.id, firstName: authors.firstName, lastName: authors.lastName },
    createdAt: posts.createdAt,
    updatedAt: posts.updatedAt,
  }
  const select = () => app.db.select(columns).from(posts).innerJoin(authors, eq(posts.authorId, authors.id))
  const byId = select()
    .where(eq(posts.id, sql.placeholder('id')))
    .prepare('post_by_id')

  return {
    /** @throws {PostNotFound} also for drafts of others: they exist for their author alone */
    async get(id: string, reader: string | undefined): Promise<Post> {
      const [found] = await byId.execute({ id })
      if (!found || (found.status === 'draft' && found.author.id !== reader)) throw new contract.errors.PostNotFound()
      return found
    },

    /** Published posts, newest first, `limit` and one more. */
    list(filter: { author?: string; tag?: string; before?: string; limit: number }): Promise<Post[]> {
      return select()
        .where(
          and(
            eq(posts.status, 'published'),
            filter.author ? eq(posts.authorId, filter.author) : undefined,
            filter.tag ? sql`${filter.tag} = any(${posts.tags})` : undefined,
            filter.before ? lt(posts.id, filter.before) : undefined,
          ),
        )
        .orderBy(desc(posts.id))
        .limit(filter.limit + 1)
    },

    /** @throws {UserNotFound} when the author has no account any more */
    async create(authorId: string, post: NewPost): Promise<Post> {
      const { firstName, lastName } = await getUser({ id: authorId })
      const author = { id: authorId, firstName, lastName }
      return app.db.transaction(async (tx) => {
        await tx.insert(authors).values(author).onConflictDoUpdate({ target: authors.id, set: { firstName, lastName } })
        const [made] = await tx
          .insert(posts)
          .values({ id: newId(), authorId, ...post })
          .returning()
        const { authorId: _author, ...row } = made!
        if (row.status === 'published')
          await app.publish(tx, contract.events.postCreated, { postId: row.id, authorId, title: row.title })
        return { ...row, author }
      })
    },
  }
}
