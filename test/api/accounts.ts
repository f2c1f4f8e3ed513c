import type { Test } from 'tap'
import { type Api, cookieOf, refused } from './client.ts'

export async function accounts(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const bob = await api.register('Bob')

  await t.test('a user signs in with address and password, in any letter case of the address', async (t) => {
    for (const email of [ada.email, ada.email.toUpperCase()]) {
      const answer = await api.post('/api/auth/login', { email, password: ada.password })
      t.match([answer.status, answer.body], [200, { user: { id: ada.id, email: ada.email }, token: String }])
      const { token } = answer.body
      t.equal((await api.get(`/api/users/${ada.id}`, { token })).body.data.email, ada.email, 'the token is good')
    }
  })

  await t.test('a wrong password and an unknown address get the same answer', async (t) => {
    const attempts = [
      { email: ada.email, password: 'wrong horse battery' },
      { email: `nobody.${ada.email}`, password: 'wrong horse battery' },
    ]
    const headers = { 'x-request-id': 'same' }
    const answers = await Promise.all(attempts.map((json) => api.post('/api/auth/login', json, { headers })))
    for (const answer of answers) {
      refused(t, answer, { status: 401, code: 'WrongCredentials', module: 'users', path: '/api/auth/login' })
      t.notOk(answer.headers['set-cookie'], 'no session')
    }
    t.equal(answers[0]!.text, answers[1]!.text)
  })

  await t.test('an address is taken once, whatever its letter case', async (t) => {
    const account = { password: 'another horse', firstName: 'Eve', lastName: 'Other' }
    for (const email of [ada.email, ada.email.toUpperCase()]) {
      const answer = await api.post('/api/auth/register', { ...account, email })
      refused(t, answer, { status: 409, code: 'EmailTaken', module: 'users', path: '/api/auth/register' })
      t.notOk(answer.headers['set-cookie'], 'no session')
    }
    t.equal((await api.post('/api/auth/login', { email: ada.email, password: account.password })).status, 401)
  })

  await t.test('of two who register one address at the same time one gets it', async (t) => {
    const email = `race.${ada.email}`
    const account = { email, password: 'correct horse', firstName: 'Twin', lastName: 'Twin' }
    const answers = await Promise.all([account, account, account].map((json) => api.post('/api/auth/register', json)))
    t.strictSame(answers.map(({ status }) => status).sort(), [201, 409, 409])
  })

  await t.test('registration and login set a session cookie that scripts and other sites cannot use', async (t) => {
    const login = await api.post('/api/auth/login', { email: ada.email, password: ada.password })
    t.match(login.headers['set-cookie'], /^sid=[^;]+;.*\bHttpOnly\b/)
    t.match(login.headers['set-cookie'], /; Path=\//)
    t.match(login.headers['set-cookie'], /; SameSite=Lax/)
    t.not(cookieOf(login), ada.cookie, 'each sign-in is a session of its own')
  })

  await t.test('the session cookie is a credential in every module', async (t) => {
    const { cookie } = bob
    t.equal((await api.get(`/api/users/${bob.id}`, { cookie })).body.data.email, bob.email)
    t.equal((await api.post('/api/posts', { title: 'By cookie', content: 'Hm.' }, { cookie })).status, 201)
    t.equal((await api.get('/api/notifications', { cookie })).status, 200)
  })

  await t.test('a forged, cut or foreign session cookie is nobody', async (t) => {
    const [, value = ''] = bob.cookie.split('=')
    const [id] = decodeURIComponent(value).split('.')
    for (const cookie of [
      'sid=',
      'sid=x',
      `sid=${id}`,
      `sid=${id}.AAAA`,
      `sid=x${value}`,
      'sid=%00',
      'sid=%zz',
      `${bob.cookie}A`,
    ]) {
      const answer = await api.get('/api/notifications', { cookie })
      refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path: '/api/notifications' }, cookie)
    }
  })

  await t.test('with the cookie, another site can read and not write', async (t) => {
    const { cookie } = bob
    const json = { title: 'Cross-site', content: 'Hm.' }
    const { host } = new URL(api.target.url)
    const foreign = [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'http://127.0.0.1:1' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'cross-site', origin: `http://${host}` },
    ]
    for (const headers of foreign as Record<string, string>[]) {
      const answer = await api.post('/api/posts', json, { cookie, headers })
      refused(t, answer, { status: 403, code: 'Forbidden', module: 'seam', path: '/api/posts' })
      t.equal((await api.get('/api/notifications', { cookie, headers })).status, 200, 'reading')
      t.equal((await api.post('/api/posts', json, { token: bob.token, headers })).status, 201, 'with a bearer token')
    }
    const own = [{ origin: `http://${host}` }, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }]
    for (const headers of own as Record<string, string>[]) {
      t.equal((await api.post('/api/posts', json, { cookie, headers })).status, 201, JSON.stringify(headers))
    }
  })

  await t.test('address and roles of a user are for that user alone', async (t) => {
    const [own, others, nobodys] = await Promise.all(
      [ada.token, bob.token, undefined].map((token) =>
        api.get(`/api/users/${ada.id}`, token === undefined ? {} : { token }),
      ),
    )
    t.match(own!.body.data, { email: ada.email, roles: ['member'] })
    const publicPart = ['createdAt', 'firstName', 'id', 'lastName', 'postCount']
    t.strictSame(Object.keys(others!.body.data).sort(), publicPart)
    t.strictSame(Object.keys(nobodys!.body.data).sort(), publicPart)
  })

  await t.test('a user that does not exist is not found', async (t) => {
    const path = '/api/users/01900000-0000-7000-8000-000000000000'
    refused(t, await api.get(path), { status: 404, code: 'UserNotFound', module: 'users', path })
  })

  await t.test('a token is asked for before anything else is looked at', async (t) => {
    const requests = [
      ['POST', '/api/posts', ''],
      ['GET', '/api/notifications', ''],
      ['GET', '/api/notifications', '?limit=0'],
    ] as const
    for (const [method, path, query] of requests) {
      const answer = await api.send(method, path + query)
      refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path })
    }
  })
}
