import { type Static, Type } from 'typebox'
import { etagOf } from '../../platform/kit/etags.ts'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { and, asc, eq, gt, newId, sql, type Transaction } from '../../platform/kit/tables.ts'
import { NotAnAuthor, writingAuthor } from './authors.ts'
import { posts as contract } from './contract.ts'
import { Author } from './post.ts'
import { authors, comments, literal, posts } from './tables.ts'

/** How much of a comment others are told, in characters. */
const EXCERPT = 200
/** One more than the longest page has. */
const LONGEST = literal(101)

export const Comment = Type.Object({
  id: Id,
  postId: Id,
  content: Type.String({ description: 'Plain text.' }),
  author: Author,
  createdAt: Instant,
  updatedAt: Instant,
})
export type Comment = Static<typeof Comment>

/** A comment with what its ETag is made of; the schema of the answer leaves that out. */
export interface CommentRow extends Comment {
  version: number
  authorVersion: number
}

export const etagOfComment = (comment: CommentRow): string => etagOf(comment.version, comment.authorVersion)

export type Comments = ReturnType<typeof commentsOf>

/** The comments of the module's database. Those on a draft exist for the author of the draft alone, as the draft does. */
export function commentsOf(app: ModuleApp<typeof contract>) {
  const { db } = app
  const given = sql.placeholder
  const columns = {
    id: comments.id,
    postId: comments.postId,
    content: comments.content,
    author: { id: authors.id, firstName: authors.firstName, lastName: authors.lastName },
    createdAt: comments.createdAt,
    updatedAt: comments.updatedAt,
    version: comments.version,
    authorVersion: authors.version,
    authorDeletedAt: authors.deletedAt,
  }
  const visibleTo = (reader: unknown) => sql`(${posts.status} = 'published' or ${posts.authorId} = ${reader}::uuid)`
  const one = (on: typeof db | Transaction, id: unknown, reader: unknown) =>
    on
      .select(columns)
      .from(comments)
      .innerJoin(authors, eq(authors.id, comments.authorId))
      .innerJoin(posts, eq(posts.id, comments.postId))
      .where(and(eq(comments.id, id as string), visibleTo(reader)))
  const byId = one(db, given('id'), given('reader')).prepare('comment_by_id')

  const listOf = (goesOn: boolean) => {
    const page = db
      .select({ id: comments.id })
      .from(comments)
      .where(and(eq(comments.postId, given('postId')), goesOn ? gt(comments.id, given('after')) : undefined))
      .orderBy(asc(comments.id))
      .limit(LONGEST)
      .as('page')
    return db
      .select(columns)
      .from(page)
      .innerJoin(comments, eq(comments.id, page.id))
      .innerJoin(authors, eq(authors.id, comments.authorId))
      .innerJoin(posts, eq(posts.id, comments.postId))
      .where(visibleTo(given('reader')))
      .orderBy(asc(page.id))
      .limit(given('limit'))
      .prepare('comments')
  }
  const first = listOf(false)
  const next = listOf(true)
  const visiblePost = db
    .select({ id: posts.id })
    .from(posts)
    .where(and(eq(posts.id, given('postId')), visibleTo(given('reader'))))
    .prepare('visible_post')

  /** The comment as it is, and nobody else changes it before the transaction has ended. */
  const hold = async (tx: Transaction, id: string, reader: string) => {
    const [, [found]] = await Promise.all([
      tx.select({ id: comments.id }).from(comments).where(eq(comments.id, id)).for('update'),
      one(tx, id, reader),
    ])
    if (!found) throw new contract.errors.CommentNotFound()
    return found
  }

  return {
    /** @throws {CommentNotFound} */
    async get(id: string, reader: string | undefined): Promise<CommentRow> {
      const [found] = await byId.execute({ id, reader: reader ?? null })
      if (!found) throw new contract.errors.CommentNotFound()
      return found
    },

    /**
     * The comments on a post, oldest first, from after the comment `after`, `limit` and one more.
     *
     * @throws {PostNotFound}
     */
    async list(
      postId: string,
      reader: string | undefined,
      { limit, after }: { limit: number; after?: string },
    ): Promise<Comment[]> {
      const values = { postId, reader: reader ?? null, after, limit: limit + 1 }
      const rows = await (after === undefined ? first : next).execute(values)
      if (rows.length === 0 && (await visiblePost.execute(values)).length === 0)
        throw new contract.errors.PostNotFound()
      return rows
    },

    /**
     * @throws {PostNotFound}
     * @throws {NotAnAuthor} when the author is not known here, or has no account any more
     */
    async create(tx: Transaction, postId: string, authorId: string, content: string): Promise<CommentRow> {
      const now = new Date().toISOString()
      const comment = { id: newId(), content, createdAt: now, updatedAt: now, version: 1 }
      const [found] = await tx.execute<
        Record<'post_id' | 'title' | 'post_author' | 'status' | 'first_name' | 'last_name', string> & {
          version: string | null
        }
      >(sql`
        with author as (${writingAuthor(authorId)}), post as (
          select id, title, author_id, status from posts
          where id = ${postId}::uuid and ${visibleTo(authorId)} for key share
        ), comment as (
          insert into comments (id, post_id, author_id, content, created_at, updated_at)
          select ${comment.id}::uuid, post.id, author.id, ${content}, ${now}::timestamptz, ${now}::timestamptz
          from post, author
        )
        select post.id as post_id, title, author_id as post_author, status, first_name, last_name, version from post left join author on true`)
      if (!found) throw new contract.errors.PostNotFound()
      if (found.version === null) throw new NotAnAuthor()
      const author = { id: authorId, firstName: found.first_name, lastName: found.last_name }
      // Drafts are nobody's business.
      if (found.status === 'published') {
        await app.publish(tx, contract.events.commentCreated, {
          commentId: comment.id,
          postId: found.post_id,
          postTitle: found.title,
          postAuthorId: found.post_author,
          authorId,
          authorName: `${author.firstName} ${author.lastName}`,
          excerpt: excerptOf(content),
        })
      }
      return { ...comment, postId: found.post_id, author, authorVersion: Number(found.version) }
    },

    /**
     * Changes a comment in a transaction. `check` gets it as it is and may refuse by throwing.
     *
     * @throws {CommentNotFound}
     * @throws {AuthorUnknown} when its author has deleted their account
     */
    change(id: string, reader: string, content: string, check: (comment: CommentRow) => void): Promise<CommentRow> {
      return db.transaction(async (tx) => {
        const before = await hold(tx, id, reader)
        check(before)
        if (before.authorDeletedAt) throw new contract.errors.AuthorUnknown()
        const after = { content, version: before.version + 1, updatedAt: new Date().toISOString() }
        await tx.update(comments).set(after).where(eq(comments.id, id))
        return { ...before, ...after }
      })
    },

    /**
     * Deletes a comment. `check` as for a change.
     *
     * @throws {CommentNotFound}
     */
    remove(id: string, reader: string, check: (comment: CommentRow) => void): Promise<void> {
      return db.transaction(async (tx) => {
        check(await hold(tx, id, reader))
        await tx.delete(comments).where(eq(comments.id, id))
      })
    },
  }
}

/** The beginning of a text; no character is cut in half. */
function excerptOf(text: string): string {
  const characters = Array.from(text.slice(0, 2 * (EXCERPT + 1)))
  return characters.length > EXCERPT ? `${characters.slice(0, EXCERPT - 1).join('')}…` : text
}
