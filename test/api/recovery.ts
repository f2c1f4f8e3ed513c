import type { Test } from 'tap'
import { type Api, refused } from './client.ts'

/** Passwords that are changed or forgotten. What comes by mail is tried in test/modules/users/recovery.test.ts. */
export async function recovery(t: Test, api: Api): Promise<void> {
  const login = async (email: string, password: string) =>
    (await api.post('/api/auth/login', { email, password })).status

  await t.test('who asks for a new password hears the same, whether there is such a user or not', async (t) => {
    const ada = await api.register()
    for (const email of [ada.email, ada.email.toUpperCase(), `nobody.${ada.email}`]) {
      const answer = await api.post('/api/auth/forgot-password', { email })
      t.strictSame([answer.status, answer.text], [202, '{}'])
    }
    t.equal(await login(ada.email, ada.password), 200, 'the old one is still good')
  })

  await t.test('a token that was not mailed is not valid', async (t) => {
    const token = 'x'.repeat(43)
    for (const [path, json] of [
      ['/api/auth/verify-email', { token }],
      ['/api/auth/reset-password', { token, password: 'another horse' }],
    ] as const) {
      refused(t, await api.post(path, json), { status: 400, code: 'TokenInvalid', module: 'users', path })
    }
  })

  await t.test('a user changes the password, and stays signed in here only', async (t) => {
    const ada = await api.register()
    const { email, password } = ada
    const elsewhere = (await api.post('/api/auth/login', { email, password })).body
    const path = '/api/profile/password'
    const change = (currentPassword: string) =>
      api.post(path, { currentPassword, password: 'another horse' }, { token: ada.token })
    refused(t, await change('wrong horse'), { status: 403, code: 'WrongPassword', module: 'users', path })
    t.equal((await change(password)).status, 204)
    t.equal(await login(email, password), 401)
    t.equal(await login(email, 'another horse'), 200)
    t.equal((await api.get('/api/profile', { token: ada.token })).status, 200)
    t.equal((await api.get('/api/profile', { token: elsewhere.token })).status, 401)
    const { status } = await api.post('/api/auth/refresh', { refreshToken: elsewhere.refreshToken })
    t.equal(status, 401)
  })
}
