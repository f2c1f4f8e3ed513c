import { batched } from '../../platform/kit/batched.ts'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, desc, eq, lt, sql } from '../../platform/kit/tables.ts'
import { posts as contract } from './contract.ts'
import { isVisible, type Post, type PostRow, postColumns, type Status } from './post.ts'
import { matches, query, rankOf, snippet } from './search.ts'
import { authors, literal, posts, postTags } from './tables.ts'

/** One more than the longest page has. */
const LONGEST = literal(101)
/** What matches a search is ranked one by one; where more than these match, the newest are. */
const RANKED = literal(10_000)

export interface Filter {
  status: Status
  author?: string
  tag?: string
}

/** A post among others that were found. */
export interface Found extends Post {
  rank: number
  snippet: string
}

export type PostReader = ReturnType<typeof postReaderOf>

/** Reads the posts of the module's database; each answer is one statement. */
export function postReaderOf(app: ModuleApp<typeof contract>) {
  const { db } = app
  const given = sql.placeholder
  const byIds = db
    .select(postColumns)
    .from(posts)
    .innerJoin(authors, eq(posts.authorId, authors.id))
    .where(sql`${posts.id} = any(${given('ids')}::uuid[])`)
    .prepare('posts_by_id')
  const postById = batched(
    async (ids) => new Map((await byIds.execute({ ids: `{${ids}}` })).map((post) => [post.id, post])),
  )

  const conditions = (filter: Filter) => [
    // Written out, for the indexes that have only the posts of one status.
    filter.status === 'draft' ? sql`${posts.status} = 'draft'` : sql`${posts.status} = 'published'`,
    filter.author ? eq(posts.authorId, given('author')) : undefined,
    filter.tag ? sql`${given('tag')} = any(${posts.tags})` : undefined,
  ]

  // The ids of a page come first, from an index alone; then the rows, as many as are wanted.
  const listOf = (filter: Filter, goesOn: boolean) => {
    const byTag = filter.tag && !filter.author && filter.status === 'published'
    const page = byTag
      ? db
          .select({ id: postTags.postId })
          .from(postTags)
          .where(and(eq(postTags.tag, given('tag')), goesOn ? lt(postTags.postId, given('before')) : undefined))
          .orderBy(desc(postTags.postId))
          .limit(LONGEST)
          .as('page')
      : db
          .select({ id: posts.id })
          .from(posts)
          .where(and(...conditions(filter), goesOn ? lt(posts.id, given('before')) : undefined))
          .orderBy(desc(posts.id))
          .limit(LONGEST)
          .as('page')
    return db
      .select(postColumns)
      .from(page)
      .innerJoin(posts, eq(posts.id, page.id))
      .innerJoin(authors, eq(authors.id, posts.authorId))
      .orderBy(desc(page.id))
      .limit(given('limit'))
      .prepare('posts')
  }

  const searchOf = (filter: Filter, goesOn: boolean) => {
    const newest = db
      .select({ id: posts.id })
      .from(posts)
      .innerJoin(query, matches)
      .where(and(...conditions(filter)))
      .orderBy(desc(posts.id))
      .limit(RANKED)
      .as('newest')
    const found = db
      .select({ id: newest.id, rank: rankOf(newest.id).as('rank') })
      .from(newest)
      .innerJoin(query, sql`true`)
      .as('found')
    const page = db
      .select()
      .from(found)
      .where(
        goesOn ? sql`(${found.rank}, ${found.id}) < (${given('rank')}::real, ${given('before')}::uuid)` : undefined,
      )
      .orderBy(desc(found.rank), desc(found.id))
      .limit(LONGEST)
      .as('page')
    return db
      .select({ ...postColumns, rank: page.rank, snippet })
      .from(page)
      .innerJoin(posts, eq(posts.id, page.id))
      .innerJoin(authors, eq(authors.id, posts.authorId))
      .orderBy(desc(page.rank), desc(page.id))
      .limit(given('limit'))
      .prepare('posts_found')
  }

  // One statement for each combination of filters, made when it is first asked for.
  const lists = new Map<string, ReturnType<typeof listOf>>()
  const searches = new Map<string, ReturnType<typeof searchOf>>()
  const prepared = <T>(
    map: Map<string, T>,
    make: (filter: Filter, goesOn: boolean) => T,
    filter: Filter,
    on: boolean,
  ): T => {
    const key = [filter.status, filter.author && 'author', filter.tag && 'tag', on].join(' ')
    const known = map.get(key) ?? make(filter, on)
    map.set(key, known)
    return known
  }

  return {
    /** @throws {PostNotFound} also for drafts of others: they exist for their author alone */
    async get(id: string, reader: string | undefined): Promise<PostRow> {
      // As PostgreSQL writes it: what was read is looked up by it.
      const found = await postById(id.toLowerCase())
      if (!found || !isVisible(found, reader)) throw new contract.errors.PostNotFound()
      return found
    },

    /** Posts, newest first, from after the post `before`, `limit` and one more. */
    list(filter: Filter, { limit, before }: { limit: number; before?: string }): Promise<Post[]> {
      const values = { ...filter, before, limit: limit + 1 }
      return prepared(lists, listOf, filter, before !== undefined).execute(values)
    },

    /** Posts that match a search, the best first, from after the post `before` with its rank, `limit` and one more. */
    search(
      filter: Filter & { q: string },
      { limit, before, rank }: { limit: number; before?: string; rank?: number },
    ): Promise<Found[]> {
      const values = { ...filter, before, rank, limit: limit + 1 }
      return prepared(searches, searchOf, filter, before !== undefined).execute(values)
    },
  }
}
