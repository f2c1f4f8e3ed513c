import t from 'tap'
import { publishedBy } from '../../support/published.ts'
import { until } from '../../support/until.ts'
import { startUsers } from './start.ts'

t.test('who is deleted', async (t) => {
  const { api, sql, signIn } = await startUsers(t)
  const tablesWith = async (text: string) => {
    const tables = await sql<{ name: string }[]>`
      select format('%I.%I', table_schema, table_name) as name from information_schema.tables
      where table_schema in ('users', 'seam') and table_type = 'BASE TABLE' and table_name not like 'outbox%'`
    const found: string[] = []
    for (const { name } of tables) {
      const rows = await sql.unsafe(`select 1 from ${name} t where t::text ilike $1 limit 1`, [`%${text}%`])
      if (rows.length > 0) found.push(name)
    }
    return found
  }

  await t.test('leaves nothing behind but the news of it', async (t) => {
    const eve = await api.register('Eve')
    await signIn(eve)
    await api.post('/api/auth/forgot-password', { email: eve.email })
    await until('the request is taken', async () => (await sql`select 1 from users.reset_requests`).length === 0)
    t.strictSame(
      (await tablesWith(eve.id)).sort(),
      ['seam.sessions', 'users.one_time_tokens', 'users.refresh_tokens', 'users.users'],
      'what there was',
    )
    t.equal((await api.send('DELETE', `/api/users/${eve.id}`, eve)).status, 204)
    t.strictSame(await tablesWith(eve.id), [])
    t.strictSame(await tablesWith(eve.email), [])
    const events =
      await sql`select name, data from ${publishedBy(sql, 'users')} where key = ${eve.id} order by at desc limit 1`
    t.match(events[0], { name: 'user.deleted', data: { userId: eve.id } })
  })

  await t.test('cannot refresh or sign in, also at the same moment', async (t) => {
    for (let round = 0; round < 5; round++) {
      const eve = await api.register('Eve')
      const { refreshToken } = (await signIn(eve)).body
      const answers = await Promise.all([
        api.send('DELETE', `/api/users/${eve.id}`, eve),
        api.post('/api/auth/refresh', { refreshToken }),
        signIn(eve),
      ])
      t.equal(answers[0].status, 204)
      for (const { status, body } of answers.slice(1)) {
        t.ok([200, 401].includes(status))
        if (status === 200) t.equal((await api.get('/api/profile', { token: body.token })).status, 401)
      }
      t.strictSame(await tablesWith(eve.id), [])
    }
  })
})

t.test('posts are counted', async (t) => {
  const { api, sql, topology } = await startUsers(t)
  const ada = await api.register()
  const publish = (name: string, data: object) =>
    sql.begin(async (tx) => {
      const [row] = await tx`
      insert into posts.outbox_keys (key, last) values (${crypto.randomUUID()}, 1) returning key`
      const [event] = await tx`
      insert into posts.outbox (id, name, version, key, sequence, data)
      values (gen_random_uuid(), ${name}, 1, ${row!.key}, 1, ${tx.json(data as never)}) returning id`
      await tx`insert into posts.outbox_deliveries (event_id, subscriber, place, after) values (${event!.id}, 'users', 1, 0)`
    })
  const postId = '01900000-0000-7000-8000-000000000000'
  const count = async () => (await api.get(`/api/users/${ada.id}`)).body.data.postCount
  const created = (authorId: string) => publish('post.created', { postId, authorId, title: 'T' })
  const deleted = (authorId: string) => publish('post.deleted', { postId, authorId })
  t.ok(topology)

  const { etag } = (await api.get(`/api/users/${ada.id}`)).headers
  await created(ada.id)
  await created(ada.id)
  await until('both are counted', async () => (await count()) === 2)
  t.not((await api.get(`/api/users/${ada.id}`)).headers.etag, etag, 'what can be seen has changed')
  await deleted(ada.id)
  await until('one is gone', async () => (await count()) === 1)
  for (let n = 0; n < 3; n++) await deleted(ada.id)
  await deleted(postId)
  await created(postId)
  const handled = () => sql`select 1 from users.inbox_keys`
  await until('all are handled, also those about nobody', async () => (await handled()).length === 8)
  t.equal(await count(), 0, 'never less than none')
})
