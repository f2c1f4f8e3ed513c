import postgres, { type Sql } from 'postgres'
import { OWASP_MEMORY, Passwords } from '../../src/modules/users/passwords.ts'
import { searchable } from '../../src/modules/users/search.ts'
import { article, name, type Random, randomOf, skewed, tags } from './text.ts'

export interface Amounts {
  users: number
  posts: number
  comments: number
}

export interface Seed extends Amounts {
  /** The same number makes the same rows. */
  seed: number
  /** Of all users. */
  password: string
}

/** Where the modules keep their rows. */
export interface Databases {
  users: string
  posts: string
}

/** The last moment of the year from which all rows are: they stay the same, and whatever is written later is newer. */
const END = Date.UTC(2026, 0, 1)
const YEAR = 365 * 24 * 3_600_000
/** Statements at a time. */
const WORKERS = 3
const KINDS = { users: 1, posts: 2, comments: 3 }
const BATCH = { users: 1_000, posts: 500, comments: 2_000 }

/**
 * Fills the tables of users and posts as if people had used the API for a year, without events. The schemas must be there.
 *
 * @param onProgress called with how many of all rows are there
 * @throws {Error} when the rows of this seed are there already
 */
export async function fill(databases: Databases, seed: Seed, onProgress: (done: number) => void = () => {}) {
  const open = (url: string) =>
    postgres(url, {
      max: WORKERS,
      fetch_types: false,
      onnotice: () => {},
      // Who loses power meanwhile begins again.
      connection: { application_name: 'seam seed', synchronous_commit: false },
    })
  const users = open(databases.users)
  const posts = open(databases.posts)
  let done = 0
  const inBatches = async (kind: keyof Amounts, insert: (from: number, to: number) => Promise<unknown>) => {
    let next = 0
    const work = async () => {
      while (next < seed[kind]) {
        const from = next
        next = Math.min(from + BATCH[kind], seed[kind])
        const to = next
        await insert(from, to)
        done += to - from
        onProgress(done)
      }
    }
    await Promise.all(Array.from({ length: WORKERS }, work))
  }
  try {
    const [taken] = await users`select 1 from users.users where id = ${idOf(seed, 'users', 0)}::uuid`
    if (taken) throw new Error(`The rows of seed ${seed.seed} are there already. Take another: --seed ${seed.seed + 1}`)
    const authors = Array.from({ length: seed.users }, () => 0)
    const all = Array.from({ length: seed.posts }, (_, n) => {
      const random = randomFor(seed, 'posts', n)
      const author = skewed(random, seed.users)
      const status = random() < 0.05 ? 'draft' : 'published'
      if (status === 'published') authors[author]!++
      return { author, status, random }
    })
    const tagged = new Map<string, number>()
    const passwordHash = await new Passwords(OWASP_MEMORY).hash(seed.password)
    await inBatches('users', (from, to) => insertUsers({ users, posts }, seed, range(from, to), passwordHash, authors))
    await inBatches('posts', (from, to) => {
      const rows = range(from, to).map((n) => {
        const { author, status, random } = all[n]!
        const post = { ...article(random, 2 + skewed(random, 40)), tags: tags(random), status }
        if (status === 'published') for (const tag of post.tags) tagged.set(tag, (tagged.get(tag) ?? 0) + 1)
        const author_id = idOf(seed, 'users', author)
        return { ...post, id: idOf(seed, 'posts', n), author_id, created_at: timeOf(seed, 'posts', n) }
      })
      return insertPosts(posts, rows)
    })
    const counts = [...tagged].sort().map(([name, count]) => ({ name, count }))
    await posts`
      insert into posts.tags (name, posts)
      select name, count from json_to_recordset(${JSON.stringify(counts)}::text::json) as row (name text, count int)
      on conflict (name) do update set posts = tags.posts + excluded.posts`
    await inBatches('comments', (from, to) =>
      insertComments(
        posts,
        range(from, to).map((n) => {
          const random = randomFor(seed, 'comments', n)
          return {
            id: idOf(seed, 'comments', n),
            post_id: idOf(seed, 'posts', skewed(random, seed.posts)),
            author_id: idOf(seed, 'users', skewed(random, seed.users)),
            content: article(random, 1 + Math.floor(random() * 3)).content,
            created_at: timeOf(seed, 'comments', n),
          }
        }),
      ),
    )
    // Also brings the entries that wait beside the search indexes into them.
    await users`vacuum analyze users.users`
    for (const table of ['authors', 'posts', 'post_tags', 'tags', 'comments'])
      await posts`vacuum analyze ${posts(`posts.${table}`)}`
  } finally {
    await Promise.all([users.end({ timeout: 5 }), posts.end({ timeout: 5 })])
  }
}

/** The address of a user, for signing in. */
export const emailOf = ({ seed }: Seed, n: number): string => `user${n}.seed${seed}@example.com`

async function insertUsers(
  on: { users: Sql; posts: Sql },
  seed: Seed,
  numbers: number[],
  hash: string,
  posts: number[],
) {
  const rows = numbers.map((n) => {
    const named = { ...name(randomFor(seed, 'users', n)), email: emailOf(seed, n) }
    return {
      id: idOf(seed, 'users', n),
      email: named.email,
      first_name: named.firstName,
      last_name: named.lastName,
      search: searchable(named),
      post_count: posts[n]!,
      created_at: timeOf(seed, 'users', n),
    }
  })
  await on.users`
    insert into users.users
      (id, email, email_verified, password_hash, first_name, last_name, roles, search, post_count, created_at, updated_at)
    select id, email, true, ${hash}, first_name, last_name, '{member}', search::tsvector, post_count, created_at, created_at
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (
      id uuid, email text, first_name text, last_name text, search text, post_count int, created_at timestamptz)`
  await on.posts`
    insert into posts.authors (id, first_name, last_name)
    select id, first_name, last_name
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (id uuid, first_name text, last_name text)`
}

async function insertPosts(posts: Sql, rows: readonly { tags: string[] }[]): Promise<void> {
  await posts`
    with post as (
      insert into posts.posts (id, author_id, title, content, tags, status, created_at, updated_at)
      select id, author_id, title, content, array(select json_array_elements_text(tags)), status, created_at, created_at
      from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (
        id uuid, author_id uuid, title text, content text, tags json, status text, created_at timestamptz)
      returning id, tags, status
    )
    insert into posts.post_tags (tag, post_id) select unnest(tags), id from post where status = 'published'`
}

async function insertComments(posts: Sql, rows: readonly object[]): Promise<void> {
  await posts`
    insert into posts.comments (id, post_id, author_id, content, created_at, updated_at)
    select id, post_id, author_id, content, created_at, created_at
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row (
      id uuid, post_id uuid, author_id uuid, content text, created_at timestamptz)`
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

/** Each row has numbers of its own, so that it is the same however many there are. */
const randomFor = (seed: Seed, kind: keyof Amounts, n: number): Random =>
  randomOf(Math.imul(seed.seed, 0x9e3779b1) ^ Math.imul(KINDS[kind], 0x85ebca6b) ^ Math.imul(n + 1, 0xc2b2ae35))

/** All are spread evenly over the year. */
const momentOf = (seed: Seed, kind: keyof Amounts, n: number): number =>
  Math.floor(END - YEAR + (YEAR * n) / seed[kind])
const timeOf = (seed: Seed, kind: keyof Amounts, n: number): string => new Date(momentOf(seed, kind, n)).toISOString()

/** A UUIDv7 of that moment; it has the number of the row in it, so that there is only one. */
function idOf(seed: Seed, kind: keyof Amounts, n: number): string {
  const time = momentOf(seed, kind, n).toString(16).padStart(12, '0')
  const hex = (value: number, length: number) => value.toString(16).padStart(length, '0').slice(-length)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(KINDS[kind], 3)}-8${hex(seed.seed, 3)}-${hex(n, 12)}`
}
