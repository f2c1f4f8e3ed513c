import t from 'tap'
import { until } from '../../support/until.ts'
import { startUsers } from './start.ts'

t.test('sign-ins', async (t) => {
  const { api, sql, signIn } = await startUsers(t)
  const refresh = (refreshToken: string) => api.post('/api/auth/refresh', { refreshToken })
  const profile = async (token: string) => (await api.get('/api/profile', { token })).status

  await t.test(
    'of those who use one refresh token at the same time one gets new tokens, and the sign-in ends',
    async (t) => {
      for (const crowd of [2, 2, 2, 6]) {
        const ada = await api.register()
        const { refreshToken } = (await signIn(ada)).body
        const answers = await Promise.all(Array.from({ length: crowd }, () => refresh(refreshToken)))
        const [winner, ...more] = answers.filter(({ status }) => status === 200)
        t.strictSame([!!winner, more.length], [true, 0], `one of ${crowd}`)
        for (const { status, body } of answers) if (status !== 200) t.equal(body.code, 'RefreshRefused')
        t.equal(await profile(winner!.body.token), 401, 'a token that is in two hands is worth nothing')
        t.equal((await refresh(winner!.body.refreshToken)).status, 401)
        t.equal(await profile(ada.token), 200, 'other sessions go on')
        const left = await sql`select 1 from users.refresh_tokens where user_id = ${ada.id}`
        t.equal(left.length, 1, 'and so do their tokens')
      }
    },
  )

  await t.test('refreshing gives the present roles', async (t) => {
    const ada = await api.register()
    const { refreshToken } = (await signIn(ada)).body
    await api.target.operate!('grant', ada.email, 'moderator')
    const { body } = await refresh(refreshToken)
    t.strictSame(body.user.roles, ['member', 'moderator'])
  })

  await t.test('refreshing and logging out at the same time leave no session behind', async (t) => {
    for (let round = 0; round < 5; round++) {
      const ada = await api.register()
      const { token, refreshToken } = (await signIn(ada)).body
      const [refreshed] = await Promise.all([refresh(refreshToken), api.send('POST', '/api/auth/logout', { token })])
      t.equal(await profile(token), 401)
      if (refreshed.status === 200) t.equal((await refresh(refreshed.body.refreshToken)).status, 401)
    }
  })

  await t.test('a refresh token that nobody has used for 7 days is not good any more', async (t) => {
    const { refreshToken } = (await signIn(await api.register())).body
    const [row] = await sql`
      select extract(epoch from expires_at - now()) as seconds from users.refresh_tokens order by expires_at desc limit 1`
    t.ok(Math.abs(row!.seconds - 7 * 24 * 3600) < 60)
    await sql`update users.refresh_tokens set expires_at = now() - interval '1 second'`
    t.equal((await refresh(refreshToken)).status, 401)
  })

  await t.test('neither passwords nor tokens can be read in the tables that keep them', async (t) => {
    const headers = { 'idempotency-key': 'a-key-of-its-own' }
    const json = { email: 'secrets@example.com', password: 'a very secret horse', firstName: 'A', lastName: 'B' }
    const { body } = await api.post('/api/auth/register', json, { headers })
    const { refreshToken } = (await refresh(body.refreshToken)).body
    for (const table of ['users', 'refresh_tokens', 'one_time_tokens', 'idempotency_keys']) {
      const rows = await sql.unsafe(`select t::text from users.${table} t`)
      t.ok(rows.length > 0, table)
      const text = JSON.stringify(rows)
      for (const secret of [json.password, body.token, body.refreshToken, refreshToken]) t.notOk(text.includes(secret))
    }
  })
})

t.test('when sessions cannot be kept, nobody is signed in, and nothing has happened', async (t) => {
  const { api, sql, signIn } = await startUsers(t)
  const ada = await api.register()
  const { refreshToken, token } = (await signIn(ada)).body
  const tokens = async () =>
    (await sql`select hash, used_at from users.refresh_tokens order by hash`).map((row) => ({ ...row }))
  const before = await tokens()
  const broken = async () => {
    const answers = [await signIn(ada), await api.post('/api/auth/refresh', { refreshToken })]
    return answers.map(({ status, body }) => [status, body.code])
  }
  await sql`alter table seam.sessions rename to sessions_away`
  t.strictSame(await broken(), [
    [503, 'Unavailable'],
    [503, 'Unavailable'],
  ])
  await sql`alter table seam.sessions_away rename to sessions`
  t.strictSame(await tokens(), before)
  t.equal((await api.post('/api/auth/refresh', { refreshToken })).status, 200, 'the token is still good')
  t.equal((await api.get('/api/profile', { token })).status, 200)
})

t.test('tokens that have expired are removed', async (t) => {
  const { sql, topology } = await startUsers(t, { start: false })
  await sql`
    insert into users.users (id, email, password_hash, first_name, last_name, roles, search)
    values ('01900000-0000-7000-8000-000000000000', 'a@example.com', '', 'A', 'B', array['member'], '')`
  await sql`
    insert into users.refresh_tokens (hash, session_id, user_id, expires_at)
    select n::text, gen_random_uuid(), '01900000-0000-7000-8000-000000000000',
      now() + (case when n <= 2500 then interval '-1 minute' else interval '1 minute' end)
    from generate_series(1, 2501) n`
  await sql`
    insert into users.one_time_tokens (hash, user_id, purpose, expires_at)
    values ('x', '01900000-0000-7000-8000-000000000000', 'verify-email', now() - interval '1 minute')`
  await topology.apps.get('main')!.listen()
  await until('what has expired is gone', async () => {
    const [row] = await sql`
      select (select count(*)::int from users.refresh_tokens) as refresh,
             (select count(*)::int from users.one_time_tokens) as "oneTime"`
    return row!.refresh === 1 && row!.oneTime === 0
  })
})
