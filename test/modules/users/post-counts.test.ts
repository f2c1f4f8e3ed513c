import t from 'tap'
import { countPosts } from '../../../src/modules/users/post-counts.ts'
import { openModuleDatabase } from '../../../src/platform/host/data/databases.ts'
import type { Handling, ModuleApp, ReceivedEvent } from '../../../src/platform/kit/module.ts'
import { newId } from '../../../src/platform/kit/tables.ts'
import { startUsers } from './start.ts'

type Handle = (event: Pick<ReceivedEvent<{ authorId: string }>, 'data'>, handling: Handling) => Promise<void>

t.test(
  'posts of the same authors are counted by several transactions at once, in whatever order they come',
  async (t) => {
    const { sql, topology } = await startUsers(t)
    const { db, close } = openModuleDatabase('users', topology.databaseUrl)
    t.teardown(close)
    const handlers = new Map<string, Handle>()
    countPosts({
      subscribe: (event: { name: string }, handle: Handle) => handlers.set(event.name, handle),
    } as unknown as ModuleApp<never>)
    const ids = Array.from({ length: 30 }, newId)
    for (const [n, id] of ids.entries())
      await sql`
      insert into users.users (id, email, password_hash, first_name, last_name, roles, search)
      values (${id}, ${`${n}@example.com`}, '', 'A', 'B', '{user}', '')`

    /** As a batch of events is handled: one after the other, and then what was to be done before the commit. */
    const handle = (name: string, authors: readonly string[]) =>
      db.transaction(async (tx) => {
        const last = new Set<(tx: never) => Promise<void>>()
        const handling = { tx, beforeCommit: (run: (tx: never) => Promise<void>) => last.add(run), afterCommit() {} }
        for (const authorId of authors)
          await handlers.get(name)!({ data: { authorId } }, handling as unknown as Handling)
        for (const run of last) await run(tx as never)
      })
    const rounds = Array.from({ length: 20 }, (_, n) =>
      handle('post.created', n % 2 === 0 ? [...ids, ...ids] : [...ids, ...ids].reverse()),
    )
    await Promise.all([...rounds, handle('post.created', [newId()])])
    await Promise.all(Array.from({ length: 5 }, (_, n) => handle('post.deleted', n % 2 === 0 ? ids : ids.toReversed())))
    const counts = await sql`select distinct post_count from users.users where post_count > 0`
    t.same([...counts], [{ post_count: 35 }])
    await handle(
      'post.deleted',
      Array.from({ length: 40 }, () => ids[0]!),
    )
    t.same([...(await sql`select post_count from users.users where id = ${ids[0]!}`)], [{ post_count: 0 }])
  },
)
