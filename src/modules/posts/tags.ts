import { Type } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, asc, gt, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { posts as contract } from './contract.ts'
import { tags } from './tables.ts'

/** Changes of counts that are added up in one statement. */
const BATCH = 10_000
/** The last character that there is: all that begins with a prefix comes before it. */
const LAST = '\u{10FFFF}'

export const Tag = Type.String({
  minLength: 1,
  maxLength: 50,
  pattern: '^[\\p{L}\\p{N}][\\p{L}\\p{M}\\p{N} _.+#-]*$',
  description:
    'Letters and digits of any language, spaces and `_ - . + #`. Upper case and extra spaces make no difference.',
  examples: ['fastify'],
})

/** A tag as it is kept: in lower case, with single spaces, its letters composed (NFC). */
export const tagOf = (text: string): string => text.normalize('NFC').toLowerCase().trim().replace(/\s+/g, ' ')

/** Tags as they are kept; those that come to the same are one. */
export const tagsOf = (texts: readonly string[]): string[] => [...new Set(texts.map(tagOf))]

/** Notes that a post has got tags and lost others, as far as everybody can see it: a draft has none. */
export async function retag(
  tx: Transaction,
  postId: string,
  { from = [], to = [] }: { from?: readonly string[]; to?: readonly string[] },
): Promise<void> {
  const lost = from.filter((tag) => !to.includes(tag))
  const got = to.filter((tag) => !from.includes(tag))
  if (lost.length + got.length === 0) return
  await tx.execute(sql`
    with lost as (
      delete from post_tags where post_id = ${postId}::uuid
        and tag in (select jsonb_array_elements_text(${JSON.stringify(lost)}::jsonb))
      returning tag
    ), got as (
      insert into post_tags (tag, post_id)
      select jsonb_array_elements_text(${JSON.stringify(got)}::jsonb), ${postId}::uuid
      returning tag
    )
    insert into tag_changes (tag, change) select tag, -1 from lost union all select tag, 1 from got`)
}

export interface TagCount {
  name: string
  count: number
}

export type TagCounts = ReturnType<typeof tagCountsOf>

/** How many published posts there are for each tag, but for what was written in the last half second. */
export function tagCountsOf(app: ModuleApp<typeof contract>) {
  const { db } = app
  app.sweep({
    name: 'count tags',
    every: 500,
    async run() {
      // In the order of their names, so that two processes that do this at a time wait for each other only once.
      const [counted] = await db.execute<{ changes: number }>(sql`
        with taken as (
          delete from tag_changes where id in (
            select id from tag_changes order by id limit ${sql.raw(String(BATCH))} for update skip locked)
          returning tag, change
        ), counted as (
          insert into tags (name, posts)
          select tag, sum(change) from taken group by tag having sum(change) <> 0 order by tag collate "C"
          on conflict (name) do update set posts = tags.posts + excluded.posts
        )
        select count(*)::int as changes from taken`)
      if (counted?.changes) await db.delete(tags).where(sql`posts = 0`)
    },
  })

  const list = (after: boolean) =>
    db
      .select({ name: tags.name, count: tags.posts })
      .from(tags)
      .where(
        and(
          sql`${tags.posts} > 0`,
          sql`${tags.name} >= ${sql.placeholder('prefix')}`,
          sql`${tags.name} < ${sql.placeholder('end')}`,
          after ? gt(tags.name, sql.placeholder('after')) : undefined,
        ),
      )
      .orderBy(asc(tags.name))
      .limit(sql.placeholder('limit'))
      .prepare(`tags_${after ? 'after' : 'first'}`)
  const first = list(false)
  const next = list(true)

  return {
    /** Tags that begin with `prefix`, by name, `limit` and one more. */
    list(prefix: string, after: string | undefined, limit: number): Promise<TagCount[]> {
      const values = { prefix, end: prefix + LAST, limit: limit + 1 }
      return after === undefined ? first.execute(values) : next.execute({ ...values, after })
    },
  }
}
