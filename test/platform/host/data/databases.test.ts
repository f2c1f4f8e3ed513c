import { randomBytes } from 'node:crypto'
import postgres, { type Sql } from 'postgres'
import t, { type Test } from 'tap'
import { authors, outbox } from '../../../../src/modules/posts/tables.ts'
import { outbox as foreignOutbox, users } from '../../../../src/modules/users/tables.ts'
import { openModuleDatabase } from '../../../../src/platform/host/data/databases.ts'
import { migrate } from '../../../../src/platform/host/data/migrate.ts'
import { eq, newId, sql as text } from '../../../../src/platform/kit/tables.ts'
import { freshDatabase } from '../../../support/database.ts'
import { startSmtp } from '../../../support/smtp.ts'
import { startTopology } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

t.setTimeout(240_000)
const folder = new URL('../../../../migrations', import.meta.url).pathname
const database = await freshDatabase()
await migrate(database.url, { folder, schemas: ['users', 'posts'] })
const admin = postgres(database.url, { max: 2, onnotice: () => {} })
t.teardown(async () => {
  await admin.end()
  await database.close()
})

/** The pool of the module `posts`, as it runs. */
function postsDatabase(t: Test, url = database.url) {
  const opened = openModuleDatabase('posts', url)
  t.teardown(() => opened.close())
  return opened
}

/** Begun now, so that the other tests need not wait for it. */
const sleeper = (async () => {
  const { sql, close } = openModuleDatabase('posts', database.url)
  const started = performance.now()
  const code = await sql`select pg_sleep(30)`.then(
    () => 'it slept well',
    (error) => error.code,
  )
  const took = performance.now() - started
  await close()
  return { code, took }
})()

const denied = { code: '42501' }
/** drizzle wraps PostgreSQL's error. */
const deniedByDrizzle = { name: 'Error', cause: { code: '42501' } }

t.test('a module works with its own tables, named with their schema and without', async (t) => {
  const { db, sql } = postsDatabase(t)
  const id = newId()
  await db.insert(authors).values({ id, firstName: 'Ada', lastName: 'Lovelace' })
  t.match(await db.select().from(authors).where(eq(authors.id, id)), [{ id, firstName: 'Ada' }])
  t.match([...(await sql`select last_name from authors where id = ${id}`)], [{ last_name: 'Lovelace' }])
  await db.update(authors).set({ lastName: 'King' }).where(eq(authors.id, id))
  await db.delete(authors).where(eq(authors.id, id))
  t.same(await db.select().from(authors), [])
})

t.test('a module cannot read or write another module’s tables', async (t) => {
  const { db, sql } = postsDatabase(t)
  await t.rejects(sql`select * from users.users`, denied)
  await t.rejects(db.select().from(users), deniedByDrizzle)
  await t.rejects(db.delete(users), deniedByDrizzle)
  const event = { name: 'user.created', version: 1, key: 'k', sequence: 1, data: {} }
  await t.rejects(db.insert(foreignOutbox).values(event), deniedByDrizzle, 'nor publish in its name')
  await t.rejects(
    db.transaction((tx) => tx.insert(foreignOutbox).values(event)),
    deniedByDrizzle,
  )
  await db.insert(outbox).values(event)
  await db.delete(outbox)
})

t.test('a module cannot change the shape of tables, not even of its own, nor make any', async (t) => {
  const { sql } = postsDatabase(t)
  for (const statement of [
    'create table posts.mine (id int)',
    'create table public.mine (id int)',
    'drop table posts.posts',
    'alter table posts.posts add column x int',
    'create schema mine',
    'create role mine',
  ])
    await t.rejects(sql.unsafe(statement), denied, statement)
})

/** postgres.js 3.4.9 reserves only a connection that is open already, where it does not fetch the types of lists. */
async function reserved(sql: Sql) {
  await sql`select 1`
  return sql.reserve()
}

t.test('a session cannot be reset out of its module’s role', async (t) => {
  for (const statement of [
    'reset role',
    'reset all',
    'discard all',
    'reset session authorization',
    'set session authorization default',
  ]) {
    const { sql } = openModuleDatabase('posts', database.url)
    const connection = await reserved(sql)
    await connection.unsafe(statement)
    await t.rejects(connection`select * from users.users`, denied, statement)
    t.match([...(await connection`select current_user`)], [{ current_user: 'seam_posts' }])
    connection.release()
    await sql.end()
  }
})

t.test('a module with a login of its own cannot leave its role by any means', async (t) => {
  const login = `t_login_${randomBytes(4).toString('hex')}`
  await admin.unsafe(`create role ${login} login password 'secret' in role seam_posts`)
  const url = new URL(database.url)
  url.username = login
  url.password = 'secret'
  const { db, sql, close } = openModuleDatabase('posts', url.href)
  t.teardown(async () => {
    await close()
    await admin.unsafe(`drop role ${login}`)
  })
  t.same(await db.select().from(authors), [], 'it has all that it needs')
  t.same(await migrate(url.href, { folder, schemas: ['posts'] }), [{ schema: 'posts', applied: [] }], 'also to boot')
  const statements = [
    'reset role',
    'set role none',
    'set role seam',
    'set role seam_users',
    `set role ${login}`,
    'set session authorization seam',
    'set session authorization seam_users',
    'set session authorization default',
    'reset all',
    'discard all',
  ]
  for (const statement of statements) {
    const connection = await reserved(sql)
    await connection.unsafe(statement).catch(() => {})
    await t.rejects(connection`select * from users.users`, denied, statement)
    await connection.unsafe('discard all')
    connection.release()
  }
})

t.test('queries are prepared, alone, in transactions and in savepoints', async (t) => {
  const { db } = postsDatabase(t)
  const statements = text`select statement, generic_plans + custom_plans as uses from pg_prepared_statements where statement like '%"authors"%'`
  await db.transaction(async (tx) => {
    const prepared = () => tx.execute(statements)
    t.equal((await prepared()).length, 0)
    await tx.select().from(authors).where(eq(authors.firstName, 'Ada'))
    t.match([...(await prepared())], [{ statement: /from "posts"."authors" where .* = \$1/, uses: '1' }])
    await tx.select().from(authors).where(eq(authors.firstName, 'Grace'))
    t.match([...(await prepared())], [{ uses: '2' }], 'the same statement for other parameters')
    await tx.transaction(async (inner) => {
      await inner.select().from(authors).where(eq(authors.lastName, 'King'))
      t.equal((await prepared()).length, 2)
    })
  })
  // The pool's first connection is the one that is free, so it is taken again.
  await db.select().from(authors).where(eq(authors.firstName, 'Edsger'))
  t.match(
    [...(await db.execute(statements))].find(({ statement }) => /"first_name" = /.test(String(statement))),
    { uses: '3' },
  )
})

t.test('a transaction that fails in a savepoint goes on, and one that fails altogether leaves nothing', async (t) => {
  const { db } = postsDatabase(t)
  const [kept, lost] = [newId(), newId()]
  await db.transaction(async (tx) => {
    await tx.insert(authors).values({ id: kept, firstName: 'K', lastName: 'ept' })
    await t.rejects(
      tx.transaction(async (inner) => {
        await inner.insert(authors).values({ id: lost, firstName: 'L', lastName: 'ost' })
        await inner.insert(authors).values({ id: kept, firstName: 'again', lastName: '' })
      }),
      { cause: { code: '23505' } },
    )
  })
  t.same(
    (await db.select().from(authors)).map(({ id }) => id),
    [kept],
  )
  await t.rejects(
    db.transaction(async (tx) => {
      await tx.delete(authors)
      tx.rollback()
    }),
  )
  t.same(
    (await db.select().from(authors)).map(({ id }) => id),
    [kept],
  )
  await db.delete(authors)
})

t.test('a transaction that has ended takes neither a statement more nor a savepoint', async (t) => {
  const { db } = postsDatabase(t)
  const ended = await db.transaction(async (tx) => tx)
  await t.rejects(
    ended.transaction(async () => {}),
    { message: 'This transaction has ended.' },
  )
  await t.rejects(ended.select().from(authors).execute(), { cause: { message: 'This transaction has ended.' } })
})

t.test('a statement that takes longer than a request may take is ended by PostgreSQL', async (t) => {
  const { code, took } = await sleeper
  t.equal(code, '57014')
  t.ok(took > 9_900 && took < 15_000, `${took} ms`)
})

t.test('a pool that is closed leaves no connection', async (t) => {
  const { sql, close } = openModuleDatabase('posts', database.url)
  await Promise.all(Array.from({ length: 20 }, () => sql`select pg_sleep(0.05)`))
  const connections = () =>
    admin`select from pg_stat_activity where datname = current_database() and application_name = 'seam posts'`
  t.equal((await connections()).length, 10)
  await close()
  await until('their end', async () => (await connections()).length === 0)
})

for (const queue of ['postgres', 'redis'] as const) {
  t.test(
    `a module with a database of its own is reached by the others’ events, and they by its (queue: ${queue})`,
    async (t) => {
      const second = await freshDatabase()
      t.teardown(() => second.close())
      const smtp = await startSmtp()
      t.teardown(() => smtp.close())
      const topology = await startTopology({
        queue,
        emptyDatabase: true,
        env: { POSTS_DATABASE_URL: second.url, SMTP_URL: smtp.url },
      })
      const main = postgres(topology.databaseUrl, { max: 1, onnotice: () => {} })
      const own = postgres(second.url, { max: 1, onnotice: () => {} })
      t.teardown(async () => {
        await topology.close()
        await Promise.all([main.end(), own.end()])
      })
      const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
        const response = await fetch(topology.url + path, {
          method,
          headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
          ...(body && { body: JSON.stringify(body) }),
        })
        return { status: response.status, body: (await response.json()) as any }
      }
      const registration = {
        email: 'ada@example.com',
        password: 'correct horse',
        firstName: 'Ada',
        lastName: 'Lovelace',
      }
      const registered = await call('POST', '/api/auth/register', registration, { 'x-request-id': 'story-1' })
      t.equal(registered.status, 201)
      const authorization = `Bearer ${registered.body.token}`
      const created = await call('POST', '/api/posts', { title: 'Notes', content: 'On the engine.' }, { authorization })
      t.equal(created.status, 201, JSON.stringify(created.body))
      await until('postCount', async () => {
        const { body } = await call('GET', `/api/users/${registered.body.user.id}`)
        return body.data.postCount === 1
      })
      await smtp.mailTo('ada@example.com')

      t.equal((await own`select from posts.posts`).length, 1)
      t.same([...(await own`select to_regclass('users.users') is null as none`)], [{ none: true }])
      t.same([...(await main`select to_regclass('posts.posts') is null as none`)], [{ none: true }])
      t.match(
        [...(await main`select request_id from users.outbox union all select request_id from users.outbox_new`)],
        [{ request_id: 'story-1' }],
        'events know their request',
      )
      await until(
        'the confirmation, back across databases',
        async () => (await own`select from posts.outbox_deliveries where confirmed_at is not null`).length === 1,
      )

      for (const app of topology.apps.values()) await app.close()
      for (const sql of [main, own]) {
        const others = () => sql`
        select application_name, query from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`
        await until('the end of all connections', async () => (await others()).length === 0)
      }
    },
  )
}
