import type { Test } from 'tap'
import { type Answer, type Api, cookieOf, refused, type User } from './client.ts'

const UNKNOWN = '01900000-0000-7000-8000-000000000000'

/** What keeps a sign-in going, and what ends it. */
export async function signIns(t: Test, api: Api): Promise<void> {
  const signIn = async ({ email, password }: User, headers = {}) => {
    const answer = await api.post('/api/auth/login', { email, password }, { headers })
    return { ...(answer.body as { token: string; refreshToken: string; expiresIn: number }), cookie: cookieOf(answer) }
  }
  const refresh = (refreshToken: string) => api.post('/api/auth/refresh', { refreshToken })
  const profile = async (ask: { token: string } | { cookie: string }) => (await api.get('/api/profile', ask)).status
  const refusal = { status: 401, code: 'RefreshRefused', module: 'users', path: '/api/auth/refresh' }

  await t.test('registration, login and refresh answer alike', async (t) => {
    const email = `alike.${process.pid}.${performance.now()}@example.com`
    const password = 'correct horse'
    const person = { email, firstName: 'Ada', lastName: 'Lovelace' }
    const registered = await api.post('/api/auth/register', { ...person, password })
    const login = await api.post('/api/auth/login', { email, password })
    const refreshed = await refresh(login.body.refreshToken)
    t.strictSame([registered.status, login.status, refreshed.status], [201, 200, 200])
    t.equal(registered.headers.location, `/api/users/${registered.body.user.id}`)
    for (const { body, headers } of [registered, login, refreshed]) {
      t.strictSame(Object.keys(body).sort(), ['expiresIn', 'refreshToken', 'token', 'user'])
      t.match(body.user, { ...person, roles: ['member'], emailVerified: false, postCount: 0 })
      t.equal(body.user.id, registered.body.user.id)
      t.ok(body.expiresIn > 0)
      t.match(String(headers['set-cookie']), /^sid=[^;]+;/)
    }
  })

  await t.test('a refresh token gives new tokens of the same session, once', async (t) => {
    const ada = await api.register()
    const first = await signIn(ada)
    const second = (await refresh(first.refreshToken)).body
    const third = await refresh(second.refreshToken)
    t.equal(third.status, 200)
    t.equal(new Set([first, second, third.body].map(({ refreshToken }) => refreshToken)).size, 3)
    for (const token of [first.token, second.token, third.body.token]) t.equal(await profile({ token }), 200)
    t.equal(await profile({ cookie: cookieOf(third) }), 200)
    const { body } = await api.get('/api/auth/sessions', { token: third.body.token })
    t.equal(body.data.length, 2, 'registration and login; refreshing begins no session')

    refused(t, await refresh(first.refreshToken), refusal, 'one that was used')
    refused(t, await refresh(third.body.refreshToken), refusal, 'and with it the whole family')
    for (const ask of [{ token: third.body.token }, { cookie: first.cookie }, { cookie: cookieOf(third) }]) {
      t.equal(await profile(ask), 401, 'and the session')
    }
    t.equal(await profile({ token: ada.token }), 200, 'other sessions go on')
  })

  await t.test('what is no refresh token is refused in the same words', async (t) => {
    const { token } = await api.register()
    for (const text of ['x', 'x'.repeat(43), token.slice(0, 128)]) refused(t, await refresh(text), refusal)
  })

  await t.test('logging out ends the session with all its tokens, and no other', async (t) => {
    const ada = await api.register()
    const one = await signIn(ada)
    const other = await signIn(ada)
    const answer = await api.send('POST', '/api/auth/logout', { cookie: one.cookie })
    t.strictSame([answer.status, answer.text], [204, ''])
    t.match(String(answer.headers['set-cookie']), /^sid=;/, 'the cookie is taken back')
    t.equal(await profile({ token: one.token }), 401)
    t.equal(await profile({ cookie: one.cookie }), 401)
    refused(t, await refresh(one.refreshToken), refusal)
    t.equal((await api.send('POST', '/api/auth/logout', { token: one.token })).status, 401, 'twice')

    t.equal((await api.send('POST', '/api/auth/logout', { token: other.token })).status, 204, 'by the token')
    t.equal(await profile({ cookie: other.cookie }), 401)
    t.equal(await profile({ token: ada.token }), 200)
  })

  await t.test('users see their sessions and end them', async (t) => {
    const [ada, bob] = await Promise.all([api.register(), api.register()])
    const phone = await signIn(ada, { 'user-agent': 'Phone/1.0' })
    const list = async (path = '/api/auth/sessions'): Promise<Answer> => api.get(path, { token: ada.token })
    const sessions = await list()
    t.match(sessions.body, { data: [{ device: 'Phone/1.0', current: false }, { current: true }], page: { next: null } })
    t.strictSame(Object.keys(sessions.body.data[0]).sort(), [
      'address',
      'createdAt',
      'current',
      'device',
      'id',
      'lastUsedAt',
    ])
    const [{ id }] = sessions.body.data
    const one = await list('/api/auth/sessions?limit=1')
    const two = await list(`/api/auth/sessions?limit=1&cursor=${one.body.page.next}`)
    t.strictSame([...one.body.data, ...two.body.data], sessions.body.data, 'page by page')

    const path = `/api/auth/sessions/${id}`
    const unknown = { status: 404, code: 'SessionNotFound', module: 'users' }
    refused(t, await api.send('DELETE', path, { token: bob.token }), { ...unknown, path }, 'not those of others')
    t.equal(await profile({ token: phone.token }), 200)
    t.equal((await api.send('DELETE', path, { token: ada.token })).status, 204)
    t.equal(await profile({ token: phone.token }), 401)
    t.equal(await profile({ cookie: phone.cookie }), 401)
    refused(t, await refresh(phone.refreshToken), refusal)
    refused(t, await api.send('DELETE', path, { token: ada.token }), { ...unknown, path }, 'twice')
    const nowhere = `/api/auth/sessions/${UNKNOWN}`
    refused(t, await api.send('DELETE', nowhere, { token: ada.token }), { ...unknown, path: nowhere })
    const [own] = (await list()).body.data
    t.equal((await api.send('DELETE', `/api/auth/sessions/${own.id.toUpperCase()}`, ada)).status, 204, 'the own one')
    t.equal(await profile({ token: ada.token }), 401)
  })

  await t.test('a registration with a key is done once, and answered as often as it comes', async (t) => {
    const email = `key.${process.pid}.${performance.now()}@example.com`
    const json = { email, password: 'correct horse', firstName: 'Ada', lastName: 'Lovelace' }
    const headers = { 'idempotency-key': `key-of-${email}` }
    const register = (more = {}) => api.post('/api/auth/register', { ...json, ...more }, { headers })
    const answers = await Promise.all([register(), register(), register()])
    t.strictSame(
      answers.map(({ status }) => status),
      [201, 201, 201],
    )
    t.equal(new Set(answers.map(({ text }) => text)).size, 1, 'the same body')
    t.equal(answers.filter(({ headers }) => headers['idempotency-replayed'] === 'true').length, 2)
    const [{ body }] = answers as [Answer, Answer, Answer]
    for (const answer of answers) t.equal(await profile({ cookie: cookieOf(answer) }), 200, 'each has a session')
    t.equal((await api.get('/api/auth/sessions', { token: body.token })).body.data.length, 1, 'of which there is one')
    refused(t, await register({ firstName: 'Eve' }), {
      status: 422,
      code: 'IdempotencyKeyReused',
      module: 'seam',
      path: '/api/auth/register',
    })

    t.equal((await api.send('POST', '/api/auth/logout', { token: body.token })).status, 204)
    const late = await register()
    t.strictSame([late.status, late.text], [201, answers[0]!.text])
    t.equal(await profile({ token: late.body.token }), 401, 'who has signed out stays so')
  })
}
