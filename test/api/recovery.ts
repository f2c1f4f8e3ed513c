import type { Test } from 'tap'
import { type Api, refused, until } from './client.ts'

/** Passwords that are changed or forgotten, and addresses that are confirmed, with what comes by mail. */
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

  const tokenIn = async (address: string, subject: string) => {
    const { smtp } = api.target
    const [mail] = await until(
      async () => smtp.mails.filter(({ to, text }) => to.includes(address) && text.includes(`Subject: ${subject}`)),
      (mails) => mails.length > 0,
    )
    return /enter this token:\s+([\w-]{43})/.exec(mail!.words)?.[1]
  }

  await t.test(
    'an address is confirmed with the token from its mail, and a new one with that from its own',
    async (t) => {
      const ada = await api.register()
      const confirm = async (token: string | undefined) => (await api.post('/api/auth/verify-email', { token })).status
      const confirmed = async () => (await api.get('/api/profile', ada)).body.data.emailVerified
      const token = await tokenIn(ada.email, 'Welcome')
      t.equal(await confirmed(), false)
      t.equal(await confirm(token), 204)
      t.equal(await confirmed(), true)
      t.equal(await confirm(token), 400, 'once')
      const email = `new.${ada.email}`
      await api.send('PATCH', '/api/profile', { token: ada.token, json: { email } })
      t.equal(await confirmed(), false)
      t.equal(await confirm(await tokenIn(email, 'Confirm your address')), 204)
      t.equal(await confirmed(), true)
    },
  )

  await t.test('a forgotten password is set anew with the token from a mail, and all sessions end', async (t) => {
    const ada = await api.register()
    await api.post('/api/auth/forgot-password', { email: ada.email })
    const json = { token: await tokenIn(ada.email, 'Set a new password'), password: 'a third horse' }
    t.equal((await api.post('/api/auth/reset-password', json)).status, 204)
    t.equal((await api.get('/api/profile', { token: ada.token })).status, 401)
    t.equal(await login(ada.email, ada.password), 401)
    t.equal(await login(ada.email, json.password), 200)
    t.equal((await api.post('/api/auth/reset-password', json)).status, 400, 'once')
  })
}
