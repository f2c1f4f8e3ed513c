import type { Test } from 'tap'
import { type Api, refused } from './client.ts'

/** What users see and change of themselves. */
export async function profile(t: Test, api: Api): Promise<void> {
  const path = '/api/profile'
  const [ada, bob] = await Promise.all([api.register('Ada'), api.register('Bob')])
  const patch = (token: string, json: unknown, headers = {}) => api.send('PATCH', path, { token, json, headers })

  await t.test('the profile is the whole account, with an ETag', async (t) => {
    const answer = await api.get(path, ada)
    t.match(answer.body.data, { id: ada.id, email: ada.email, roles: ['member'], emailVerified: false, postCount: 0 })
    const { etag } = answer.headers as { etag: string }
    const known = await api.get(path, { token: ada.token, headers: { 'if-none-match': etag } })
    t.strictSame([known.status, known.text, known.headers.etag], [304, '', etag])
    t.equal((await api.get(path)).status, 401)
  })

  await t.test('a change changes what is named, and the ETag', async (t) => {
    const before = await api.get(path, ada)
    const { etag } = before.headers as { etag: string }
    const changed = await patch(ada.token, { lastName: 'King' }, { 'if-match': etag })
    t.equal(changed.status, 200)
    t.match(changed.body.data, { ...before.body.data, lastName: 'King', updatedAt: String })
    t.not(changed.headers.etag, etag)
    const now = await api.get(path, ada)
    t.strictSame([now.body, now.headers.etag], [changed.body, changed.headers.etag])
    refused(
      t,
      await patch(ada.token, { lastName: 'Byron' }, { 'if-match': etag }),
      { status: 412, code: 'PreconditionFailed', module: 'seam', path },
      'who has seen an older version',
    )
    t.equal((await patch(ada.token, { lastName: 'Byron' }, { 'if-match': '*' })).status, 200)
  })

  await t.test('of two changes of one version one is made', async (t) => {
    const { etag } = (await api.get(path, ada)).headers as { etag: string }
    const answers = await Promise.all(
      ['One', 'Two', 'Three'].map((firstName) => patch(ada.token, { firstName }, { 'if-match': etag })),
    )
    t.strictSame(answers.map(({ status }) => status).sort(), [200, 412, 412])
  })

  await t.test('a new address is what one signs in with, and one that is taken is refused', async (t) => {
    const email = `New.${ada.email}`
    t.match((await patch(ada.token, { email })).body.data, { email: email.toLowerCase(), emailVerified: false })
    const login = async (email: string) => (await api.post('/api/auth/login', { email, password: ada.password })).status
    t.strictSame([await login(email), await login(ada.email)], [200, 401])
    refused(t, await patch(ada.token, { email: bob.email.toUpperCase() }), {
      status: 409,
      code: 'EmailTaken',
      module: 'users',
      path,
    })
  })

  await t.test('what cannot be changed is refused', async (t) => {
    for (const json of [{}, { roles: ['admin'] }, { firstName: ' ' }, { email: 'x' }, { password: 'another horse' }]) {
      refused(
        t,
        await patch(ada.token, json),
        { status: 400, code: 'BadInput', module: 'users', path },
        JSON.stringify(json),
      )
    }
  })
}
