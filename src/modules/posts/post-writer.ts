import type { ModuleApp } from '../../platform/kit/module.ts'
import { eq, newId, sql, type Transaction } from '../../platform/kit/tables.ts'
import { NotAnAuthor, writingAuthor } from './authors.ts'
import { posts as contract } from './contract.ts'
import { isVisible, type Post, type PostRow, postColumns } from './post.ts'
import { authors, posts } from './tables.ts'
import { retag } from './tags.ts'

export type NewPost = Pick<Post, 'title' | 'content' | 'tags' | 'status'>

export type PostWriter = ReturnType<typeof postWriterOf>

/** Changes the posts of the module's database, and says so to other modules and to the counts of tags. */
export function postWriterOf(app: ModuleApp<typeof contract>) {
  /** What follows for others from a change of a post, or from its coming or going. */
  const tell = async (
    tx: Transaction,
    { postId, authorId, before, after }: { postId: string; authorId: string; before?: NewPost; after?: NewPost },
  ): Promise<void> => {
    const was = before?.status === 'published' ? before : undefined
    const is = after?.status === 'published' ? after : undefined
    const event = { postId, authorId }
    await Promise.all([
      retag(tx, postId, { from: was?.tags ?? [], to: is?.tags ?? [] }),
      is && !was && app.publish(tx, contract.events.postCreated, { ...event, title: is.title }),
      was && !is && app.publish(tx, contract.events.postDeleted, event),
    ])
  }

  /** The post as it is, and nobody else changes it before the transaction has ended. */
  const hold = async (tx: Transaction, id: string, reader: string) => {
    const [, [found]] = await Promise.all([
      tx.select({ id: posts.id }).from(posts).where(eq(posts.id, id)).for('update'),
      tx
        .select({ ...postColumns, authorDeletedAt: authors.deletedAt })
        .from(posts)
        .innerJoin(authors, eq(posts.authorId, authors.id))
        .where(eq(posts.id, id)),
    ])
    if (!found || !isVisible(found, reader)) throw new contract.errors.PostNotFound()
    return found
  }

  return {
    /** @throws {NotAnAuthor} when the author is not known here, or has no account any more */
    async create(tx: Transaction, authorId: string, { title, content, tags, status }: NewPost): Promise<PostRow> {
      const now = new Date().toISOString()
      const post = { id: newId(), title, content, tags, status, createdAt: now, updatedAt: now, version: 1 }
      // All statements go out at once. Without an author nothing is written, and what was told is rolled back.
      const [[found]] = await Promise.all([
        tx.execute<{ first_name: string; last_name: string; version: string }>(sql`
          with author as (${writingAuthor(authorId)}), post as (
            insert into posts (id, author_id, title, content, tags, status, created_at, updated_at)
            select ${post.id}::uuid, id, ${title}, ${content}, ${sql.param(tags, posts.tags)}::text[], ${status},
              ${now}::timestamptz, ${now}::timestamptz
            from author
          )
          select first_name, last_name, version from author`),
        tell(tx, { postId: post.id, authorId, after: post }),
      ])
      if (!found) throw new NotAnAuthor()
      const author = { id: authorId, firstName: found.first_name, lastName: found.last_name }
      return { ...post, author, authorVersion: Number(found.version) }
    },

    /**
     * Changes a post in a transaction. `check` gets it as it is and may refuse by throwing.
     *
     * @throws {PostNotFound}
     * @throws {AuthorUnknown} when its author has deleted their account
     */
    change(id: string, reader: string, patch: Partial<NewPost>, check: (post: PostRow) => void): Promise<PostRow> {
      return app.db.transaction(async (tx) => {
        const { authorDeletedAt, ...before } = await hold(tx, id, reader)
        check(before)
        if (authorDeletedAt) throw new contract.errors.AuthorUnknown()
        // To publish what is published changes nothing, so that it may be repeated.
        if (Object.entries(patch).every(([key, value]) => key === 'status' && value === before.status)) return before
        const after = { ...before, ...patch, version: before.version + 1, updatedAt: new Date().toISOString() }
        const { version, updatedAt } = after
        await Promise.all([
          tx
            .update(posts)
            .set({ ...patch, version, updatedAt })
            .where(eq(posts.id, id)),
          tell(tx, { postId: before.id, authorId: before.author.id, before, after }),
        ])
        return after
      })
    },

    /**
     * Deletes a post and its comments. `check` as for a change.
     *
     * @throws {PostNotFound}
     */
    remove(id: string, reader: string, check: (post: PostRow) => void): Promise<void> {
      return app.db.transaction(async (tx) => {
        const before = await hold(tx, id, reader)
        check(before)
        await Promise.all([
          tx.delete(posts).where(eq(posts.id, id)),
          tell(tx, { postId: before.id, authorId: before.author.id, before }),
        ])
      })
    },
  }
}
