import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, asc, eq, isNotNull, isNull, sql, type Transaction } from '../../platform/kit/tables.ts'
import { posts as contract } from './contract.ts'
import { authors, posts } from './tables.ts'
import { retag } from './tags.ts'

/** Rows removed in one transaction, so that each is short, however much somebody has written. */
const BATCH = { posts: 50, comments: 1_000 }

/**
 * Removes what authors have written who have deleted their accounts: bit by bit, in any number of processes. What one of
 * them leaves undone, another one does.
 */
export function clearDeletedAuthors(app: ModuleApp<typeof contract>): { wake(): void } {
  const { db } = app

  const removePosts = async (tx: Transaction, authorId: string) => {
    const found = await tx
      .select({ id: posts.id, status: posts.status, tags: posts.tags })
      .from(posts)
      .where(eq(posts.authorId, authorId))
      .orderBy(asc(posts.id))
      .limit(BATCH.posts)
      .for('update', { skipLocked: true })
    const published = found.filter(({ status }) => status === 'published')
    await Promise.all(
      published.flatMap(({ id, tags }) => [
        retag(tx, id, { from: tags }),
        app.publish(tx, contract.events.postDeleted, { postId: id, authorId }),
      ]),
    )
    if (found.length > 0) await tx.delete(posts).where(sql`${posts.id} in (${idsOf(found)})`)
    return found.length
  }

  const removeComments = async (condition: ReturnType<typeof sql>) => {
    const removed = await db.execute(sql`
      delete from comments where id in (
        ${condition} limit ${sql.raw(String(BATCH.comments))} for update of comments skip locked)
      returning id`)
    return removed.length
  }

  /**
   * Removes one batch that nobody else has taken, or notes that there is nothing left, which others are not removing either:
   * they may still fail.
   *
   * @returns whether there is anything else to do now
   */
  const clear = async (authorId: string): Promise<boolean> => {
    // Comments on the posts first: the posts would take all of theirs with them at once.
    const onPosts = sql`
      select comments.id from posts join comments on comments.post_id = posts.id where posts.author_id = ${authorId}::uuid`
    const own = sql`select id from comments where author_id = ${authorId}::uuid order by id`
    const removed =
      (await removeComments(onPosts)) ||
      (await removeComments(own)) ||
      (await db.transaction((tx) => removePosts(tx, authorId)))
    if (removed > 0) return true
    const cleared = await db
      .update(authors)
      .set({ clearedAt: sql`now()` })
      .where(
        and(
          eq(authors.id, authorId),
          sql`not exists (select from comments where author_id = ${authorId}::uuid)`,
          sql`not exists (select from posts where author_id = ${authorId}::uuid)`,
        ),
      )
      .returning({ id: authors.id })
    return cleared.length > 0
  }

  const sweep = app.sweep({
    name: 'clear deleted authors',
    every: 10_000,
    async run() {
      const [author] = await db
        .select({ id: authors.id })
        .from(authors)
        .where(and(isNotNull(authors.deletedAt), isNull(authors.clearedAt)))
        .orderBy(asc(authors.id))
        .limit(1)
      if (author && (await clear(author.id))) sweep.wake()
    },
  })
  return sweep
}

/** Ids as one parameter, however many they are. */
const idsOf = (rows: { id: string }[]) =>
  sql`select value::uuid from jsonb_array_elements_text(${JSON.stringify(rows.map(({ id }) => id))}::jsonb) as ids (value)`
