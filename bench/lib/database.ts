import { createHash } from 'node:crypto'
import { join } from 'node:path'
import postgres from 'postgres'
import { acquireEmbeddedPostgres, type EmbeddedPostgres } from '../../src/platform/host/data/embedded-postgres.ts'
import { ROOT } from './children.ts'

let embedded: Promise<EmbeddedPostgres> | undefined

/** The database of the benchmark, kept in `bench/.data` from one run to the next. */
export async function databaseUrl(): Promise<string> {
  embedded ??= acquireEmbeddedPostgres({ folder: join(ROOT, 'bench/.data/postgres') })
  return (await embedded).url
}

export async function closeDatabase(): Promise<void> {
  await (await embedded)?.release()
  embedded = undefined
}

/**
 * Puts 1000 published posts of about 600 bytes by 20 authors into the tables of the application, which must be there.
 *
 * @returns their ids, the same in every run
 */
export async function seedPosts(url: string): Promise<string[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const uuid = (name: string) => {
    const hash = createHash('sha256').update(name).digest('hex')
    return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-7${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`
  }
  const authors = Array.from({ length: 20 }, (_, i) => ({
    id: uuid(`author ${i}`),
    first_name: 'Ada',
    last_name: `N${i}`,
  }))
  const posts = Array.from({ length: 1000 }, (_, i) => ({
    id: uuid(`post ${i}`),
    author_id: authors[i % authors.length]!.id,
    title: `Post number ${i}`,
    content: `${i} `.padEnd(300, 'words and more words, '),
    tags: ['bench', 'fastify'],
    status: 'published',
  }))
  await sql`insert into posts.authors ${sql(authors)} on conflict do nothing`
  await sql`insert into posts.posts ${sql(posts)} on conflict do nothing`
  await sql`vacuum analyze posts.posts`
  await sql.end()
  return posts.map(({ id }) => id)
}
