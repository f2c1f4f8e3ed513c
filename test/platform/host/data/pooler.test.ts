import postgres from 'postgres'
import t from 'tap'
import { connect } from '../../../api/client.ts'
import { comments } from '../../../api/comments.ts'
import { posts } from '../../../api/posts.ts'
import { story } from '../../../api/story.ts'
import { stream } from '../../../api/stream.ts'
import { tags } from '../../../api/tags.ts'
import { startPgbouncer } from '../../../support/pgbouncer.ts'
import { startSmtp } from '../../../support/smtp.ts'
import { freshState, startTopology } from '../../../support/topology.ts'

t.setTimeout(400_000)

const state = await freshState('redis')
const asModule = (module: string) =>
  `set role seam_${module}; set search_path to ${module}; set statement_timeout to 10000; ` +
  'set idle_in_transaction_session_timeout to 60000'
const pgbouncer = await startPgbouncer(state.env.DATABASE_URL!, {
  users: asModule('users'),
  posts: asModule('posts'),
  notifications: asModule('notifications'),
  as_the_login: 'select 1',
})
const smtp = await startSmtp()
t.teardown(async () => {
  await smtp.close()
  await pgbouncer.close()
  await state.close()
})
const poolers = {
  USERS_DATABASE_POOLER_URL: pgbouncer.urlOf('users'),
  POSTS_DATABASE_POOLER_URL: pgbouncer.urlOf('posts'),
  NOTIFICATIONS_DATABASE_POOLER_URL: pgbouncer.urlOf('notifications'),
}

t.test('the application behaves through a PgBouncer in transaction mode as it does without', async (t) => {
  const env = { ...poolers, SMTP_URL: smtp.url }
  const topology = await startTopology({ state: state.env, env })
  t.teardown(() => topology.close())
  const api = connect(t, { url: topology.url, secret: '', smtp, operate: topology.operate })
  for (const [name, part] of Object.entries({ story, posts, comments, tags, stream }))
    await t.test(name, (t) => part(t, api))

  await t.test('with few connections to PostgreSQL, and one for each module that listens', async (t) => {
    const sql = postgres(state.env.DATABASE_URL!, { max: 1 })
    t.teardown(() => sql.end())
    await Promise.all(Array.from({ length: 50 }, () => api.get('/api/posts')))
    const connections = await sql`
      select query like 'listen %' as listens, count(*)::int from pg_stat_activity
      where application_name like 'seam %' and datname = current_database() group by 1`
    t.ok(connections.find(({ listens }) => !listens)?.count <= 9, 'at most 3 for each module')
    t.ok(connections.find(({ listens }) => listens)?.count <= 3)
  })
})

t.test('a PgBouncer that does not run a module under its role is found when the process starts', async (t) => {
  const env = { ...poolers, POSTS_DATABASE_POOLER_URL: pgbouncer.urlOf('as_the_login') }
  const begun = startTopology({ state: state.env, env })
  await t.rejects(begun, { message: /POSTS_DATABASE_POOLER_URL.* needs connect_query='set role seam_posts; / })
  const { message } = await begun.catch((error) => error)
  t.match(message, `connect_query='${asModule('posts')}'`, 'it says the whole line')
})
