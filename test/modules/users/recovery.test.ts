import t from 'tap'
import { publishedBy, settled } from '../../support/published.ts'
import { until } from '../../support/until.ts'
import { startUsers } from './start.ts'

t.test('tokens that come by mail', async (t) => {
  const { api, sql, signIn, mailedToken } = await startUsers(t)
  const reset = (token: string, password = 'another horse') => api.post('/api/auth/reset-password', { token, password })
  const verify = async (token: string) => (await api.post('/api/auth/verify-email', { token })).status
  const forget = async (email: string) => {
    t.equal((await api.post('/api/auth/forgot-password', { email })).status, 202)
    await until('the request is taken', async () => (await sql`select 1 from users.reset_requests`).length === 0)
  }
  const resetTokenOf = async ({ id, email }: { id: string; email: string }) => {
    await forget(email.toUpperCase())
    return mailedToken(id, 'user.password-reset-requested')
  }

  await t.test('the token of the welcome mail verifies the address, once', async (t) => {
    const ada = await api.register()
    const before = await api.get('/api/profile', ada)
    const token = await mailedToken(ada.id, 'user.created')
    t.equal((await reset(token)).body.code, 'TokenInvalid', 'and is good for nothing else')
    t.equal(await verify(token), 204)
    const after = await api.get('/api/profile', ada)
    t.strictSame([before.body.data.emailVerified, after.body.data.emailVerified], [false, true])
    t.not(after.headers.etag, before.headers.etag)
    t.equal(await verify(token), 400, 'twice')
  })

  await t.test('it does not verify an address that came later', async (t) => {
    const ada = await api.register()
    const token = await mailedToken(ada.id, 'user.created')
    await api.send('PATCH', '/api/profile', { token: ada.token, json: { email: `new.${ada.email}` } })
    t.equal(await verify(token), 400)
  })

  await t.test('a forgotten password is replaced, all sessions end, and all tokens are worthless', async (t) => {
    const ada = await api.register()
    const { refreshToken } = (await signIn(ada)).body
    const first = await resetTokenOf(ada)
    await settled(sql, 'users')
    await sql`delete from users.outbox where name = 'user.password-reset-requested'`
    const second = await resetTokenOf(ada)
    t.not(first, second)
    t.equal(await verify(second), 400, 'it is good for nothing else')
    t.equal((await reset(second, 'short')).status, 400)
    const answers = await Promise.all([reset(second), reset(second), reset(second)])
    t.strictSame(answers.map(({ status }) => status).sort(), [204, 400, 400], 'once')
    t.equal((await reset(first)).body.code, 'TokenInvalid')
    t.equal((await signIn(ada)).status, 401)
    t.equal((await signIn({ ...ada, password: 'another horse' })).status, 200)
    for (const ask of [{ token: ada.token }, { cookie: ada.cookie }]) {
      t.equal((await api.get('/api/profile', ask)).status, 401)
    }
    t.equal((await api.post('/api/auth/refresh', { refreshToken })).status, 401)
  })

  await t.test('tokens are good for a while: an hour, and a week', async (t) => {
    const ada = await api.register()
    const resetToken = await resetTokenOf(ada)
    const rows = await sql`
      select purpose, round(extract(epoch from expires_at - now()) / 60)::int as minutes
      from users.one_time_tokens where user_id = ${ada.id} order by purpose`
    t.strictSame(
      rows.map((row) => ({ ...row })),
      [
        { purpose: 'reset-password', minutes: 60 },
        { purpose: 'verify-email', minutes: 7 * 24 * 60 },
      ],
    )
    await sql`update users.one_time_tokens set expires_at = now() where user_id = ${ada.id}`
    t.equal((await reset(resetToken)).status, 400)
    t.equal(await verify(await mailedToken(ada.id, 'user.created')), 400)
  })

  await t.test('nobody is written to where there is no account', async (t) => {
    const count = async () =>
      (await sql`select 1 from ${publishedBy(sql, 'users')} where name = 'user.password-reset-requested'`).length
    const before = await count()
    await forget('nobody@example.com')
    t.equal(await count(), before)
  })

  await t.test('nor at an address that is being given up at the moment', async (t) => {
    const ada = await api.register()
    const change = await sql.reserve()
    const [{ pid }] = await change<[{ pid: number }]>`select pg_backend_pid() as pid`
    await change`begin`
    await change`update users.users set email = ${`new.${ada.email}`} where id = ${ada.id}`
    t.equal((await api.post('/api/auth/forgot-password', { email: ada.email })).status, 202)
    await until('somebody waits for the change', async () => {
      const [row] = await sql`
        select exists (select from pg_locks where ${pid} = any(pg_blocking_pids(pid))) as waits`
      return row!.waits
    })
    await change`commit`
    change.release()
    await until('the request is taken', async () => (await sql`select 1 from users.reset_requests`).length === 0)
    const mails = await sql`
      select from ${publishedBy(sql, 'users')} where name = 'user.password-reset-requested' and data->>'userId' = ${ada.id}`
    t.equal(mails.length, 0)
  })

  await t.test('changing the password makes reset tokens worthless', async (t) => {
    const ada = await api.register()
    const token = await resetTokenOf(ada)
    const json = { currentPassword: ada.password, password: 'another horse' }
    t.equal((await api.post('/api/profile/password', json, ada)).status, 204)
    t.equal((await reset(token, 'a third horse')).status, 400)
  })
})
