import { sql } from '../../platform/kit/tables.ts'
import { posts } from './tables.ts'

/** What the words of a text have between them, but for what means something in a search: `"` and `-`. */
const BETWEEN_WORDS = /[^\P{P}"-]|[\s\p{Cc}<>=+^|~$`]/gu
/** A dash inside a word; one before a word excludes it. */
const INNER_DASH = /(?<=[^\s"-])-/g

/** A search as people write it, in the form in which the database has the words of posts (`posts.words`). */
export const searchOf = (q: string): string =>
  q.normalize('NFC').toLowerCase().replace(BETWEEN_WORDS, ' ').replace(INNER_DASH, ' ')

/** For `from`: the search `q`, so that it is read once and not for every row. */
export const query = sql`websearch_to_tsquery('english', ${sql.placeholder('q')}) as query`
export const matches = sql`${posts.search} @@ query`
/** Words in the title count more than words in the text, those more than tags; and more, the closer they stand together. */
export const rankOf = (id: unknown) =>
  sql<number>`(select ts_rank_cd(ranked.search, query) from posts as ranked where ranked.id = ${id})`
/** Where the text has what was searched for. Made for the rows of one page only. */
export const snippet = sql<string>`snippet_of(${posts.content}, websearch_to_tsquery('english', ${sql.placeholder('q')}))`
