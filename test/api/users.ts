import type { Test } from 'tap'
import { type Answer, type Api, refused, type User } from './client.ts'

/** What admins see and change, and how users leave. */
export async function users(t: Test, api: Api): Promise<void> {
  const [admin, ada, bob] = await Promise.all([api.admin(), api.register('Ada'), api.register('Bob')])
  const send = (method: string, user: User, by: User, json?: unknown, headers = {}) =>
    api.send(method, `/api/users/${user.id}`, { token: by.token, json, headers })
  const setRoles = (user: User, by: User, roles: string[]) =>
    api.send('PUT', `/api/users/${user.id}/roles`, { token: by.token, json: { roles } })

  await t.test('only admins list users, and find them by the beginning of words', async (t) => {
    const path = '/api/users'
    refused(t, await api.get(path), { status: 401, code: 'Unauthenticated', module: 'seam', path })
    refused(t, await api.get(path, ada), { status: 403, code: 'Forbidden', module: 'seam', path })
    const mark = `zz${process.pid}x${performance.now()}`.replace('.', 'y')
    const made: string[] = []
    for (const [firstName, lastName] of [
      ['Grace', 'Hopper'],
      ['Gráce', "O'Neil"],
      ['Ida', 'Rhodes'],
    ]) {
      const json = { email: `${made.length}@${mark}.example`, password: 'correct horse', firstName, lastName }
      made.unshift((await api.post('/api/auth/register', json)).body.user.id)
    }
    const find = async (q: string, more = '') => {
      const answer = await api.get(`${path}?q=${encodeURIComponent(`${mark} ${q}`)}${more}`, admin)
      return answer.body.data.map(({ id }: User) => id)
    }
    const [ida, grace2, grace1] = made
    t.strictSame(await find(''), made, 'newest first')
    t.strictSame(await find('GRAC'), [grace2, grace1], 'neither case nor accents matter')
    t.strictSame(await find('hop gra'), [grace1])
    t.strictSame(await find('neil'), [grace2])
    t.strictSame(await find('race'), [], 'in the middle of a word')
    t.strictSame(await find(`'gra':* | ida & !x <-> \\`), [], 'no language of its own')
    t.strictSame(await find('ida', '&role=member'), [ida])
    t.strictSame(await find('ida', '&role=admin'), [])

    const seen: string[] = []
    let query: string | null = `?q=${mark}&limit=1`
    while (query !== null) {
      const answer: Answer = await api.get(path + query, admin)
      seen.push(...answer.body.data.map(({ id }: User) => id))
      query = answer.body.page.next && `?q=${mark}&limit=1&cursor=${answer.body.page.next}`
    }
    t.strictSame(seen, made, 'page by page')
    for (const bad of ['?q=', '?q=%25%26', `?q=${'x'.repeat(101)}`, '?role=king', '?limit=101', '?cursor=x', '?x=1']) {
      refused(t, await api.get(path + bad, admin), { status: 400, code: 'BadInput', module: 'users', path }, bad)
    }
  })

  await t.test('admins see all of a user, and their ETag is another than the public one', async (t) => {
    const path = `/api/users/${ada.id}`
    const [all, some] = await Promise.all([api.get(path, admin), api.get(path)])
    t.match(all.body.data, { email: ada.email, roles: ['member'], emailVerified: false })
    t.not(all.headers.etag, some.headers.etag)
    for (const [answer, ask] of [
      [all, admin],
      [some, {}],
    ] as const) {
      const headers = { 'if-none-match': String(answer.headers.etag) }
      t.equal((await api.get(path, { ...ask, headers })).status, 304)
    }
  })

  await t.test('users change themselves, admins change everybody, others nobody', async (t) => {
    const forbidden = { status: 403, code: 'Forbidden', module: 'seam', path: `/api/users/${ada.id}` }
    refused(t, await send('PATCH', ada, bob, { firstName: 'Eve' }), forbidden)
    refused(t, await send('DELETE', ada, bob), forbidden)
    const own = await send('PATCH', ada, ada, { firstName: 'Augusta' })
    t.match([own.status, own.body.data], [200, { firstName: 'Augusta', email: ada.email }])
    const etag = String(own.headers.etag)
    const others = await send('PATCH', ada, admin, { firstName: 'Ada' }, { 'if-match': etag })
    t.match([others.status, others.body.data], [200, { firstName: 'Ada', email: ada.email }])
    for (const method of ['PATCH', 'DELETE']) {
      const json = method === 'PATCH' ? { firstName: 'Late' } : undefined
      t.equal((await send(method, ada, ada, json, { 'if-match': etag })).status, 412)
    }
  })

  await t.test('roles are given by admins and take effect at once, in sessions that are under way', async (t) => {
    const path = `/api/users/${bob.id}/roles`
    refused(t, await setRoles(bob, bob, ['admin']), { status: 403, code: 'Forbidden', module: 'seam', path })
    const list = async () => (await api.get('/api/users?limit=1', { token: bob.token })).status
    t.equal(await list(), 403)
    const given = await setRoles(bob, admin, ['admin', 'member'])
    t.match([given.status, given.body.data.roles], [200, ['member', 'admin']])
    t.equal(await list(), 200, 'by the same token')
    t.equal((await api.get('/api/users?limit=1', { cookie: bob.cookie })).status, 200, 'and the same cookie')
    t.equal((await setRoles(bob, admin, ['member'])).status, 200)
    t.equal(await list(), 403, 'and taken')
    for (const roles of [[], ['king'], ['member', 'member']]) {
      refused(t, await setRoles(bob, admin, roles), { status: 400, code: 'BadInput', module: 'users', path })
    }
  })

  await t.test('who is deleted is gone, with sessions and tokens, and the address is free', async (t) => {
    const eve = await api.register('Eve')
    const { email, password } = eve
    const { refreshToken } = (await api.post('/api/auth/login', { email, password })).body
    const { status, text } = await send('DELETE', eve, eve)
    t.strictSame([status, text], [204, ''])
    const path = `/api/users/${eve.id}`
    refused(t, await api.get(path), { status: 404, code: 'UserNotFound', module: 'users', path })
    refused(t, await send('DELETE', eve, admin), { status: 404, code: 'UserNotFound', module: 'users', path })
    for (const ask of [{ token: eve.token }, { cookie: eve.cookie }]) {
      t.equal((await api.get('/api/notifications', ask)).status, 401, 'in every module')
    }
    t.equal((await api.post('/api/auth/refresh', { refreshToken })).status, 401)
    t.equal((await api.post('/api/auth/login', { email, password })).status, 401)
    const again = await api.post('/api/auth/register', { email, password, firstName: 'Eve', lastName: 'Again' })
    t.equal(again.status, 201)
    t.not(again.body.user.id, eve.id)
    t.equal((await api.send('DELETE', `/api/users/${again.body.user.id}`, { token: admin.token })).status, 204)
  })
}
