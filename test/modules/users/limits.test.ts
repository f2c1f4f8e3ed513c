import t from 'tap'
import { startUsers } from './start.ts'

/** Attempts a minute. */
const LIMIT = 3
const TOKEN = 'x'.repeat(43)
const PASSWORD = 'correct horse'

t.test('passwords and tokens can be tried a few times a minute', async (t) => {
  const env = { LOGIN_LIMIT: String(LIMIT), TRUST_PROXY: '127.0.0.1/32' }
  const { api } = await startUsers(t, { env })
  let addresses = 0
  const newAddress = () => `192.0.2.${++addresses}`
  const send = (path: string, json: object, address: string) =>
    api.post(path, json, { headers: { 'x-forwarded-for': address } })
  const email = (n: number | string) => `user.${n}@example.com`

  const perAddress = {
    '/api/auth/register': (n: number) => ({ email: email(n), password: 'short', firstName: 'A', lastName: 'B' }),
    '/api/auth/login': (n: number) => ({ email: email(n), password: PASSWORD }),
    '/api/auth/refresh': () => ({ refreshToken: TOKEN }),
    '/api/auth/verify-email': () => ({ token: TOKEN }),
    '/api/auth/forgot-password': (n: number) => ({ email: email(n) }),
    '/api/auth/reset-password': () => ({ token: TOKEN, password: PASSWORD }),
  }
  for (const [path, json] of Object.entries(perAddress)) {
    await t.test(`${path}, from one address`, async (t) => {
      const address = newAddress()
      const valid = (n: number) => ({ ...json(n), ...(path.endsWith('register') && { password: PASSWORD }) })
      const statuses: number[] = []
      for (let n = 0; n <= LIMIT; n++) statuses.push((await send(path, valid(n), address)).status)
      t.equal(statuses.pop(), 429)
      t.notOk(statuses.includes(429))
      t.not((await send(path, valid(LIMIT + 1), newAddress())).status, 429, 'another address may')
    })
  }

  for (const path of ['/api/auth/register', '/api/auth/login', '/api/auth/forgot-password'] as const) {
    await t.test(`${path}, for one account`, async (t) => {
      const attempt = (address: string) => {
        const json = {
          ...perAddress[path](0),
          email: addresses % 2 ? email(path.slice(10)) : email(path.slice(10)).toUpperCase(),
        }
        return send(path, { ...json, ...('password' in json && { password: PASSWORD }) }, address)
      }
      const answers = []
      for (let n = 0; n <= LIMIT; n++) answers.push(await attempt(newAddress()))
      const last = answers.pop()!
      t.match([last.status, last.body.code], [429, 'TooManyRequests'])
      t.match(last.headers['retry-after'], /^\d+$/)
      t.notOk(answers.some(({ status }) => status === 429))
    })
  }

  await t.test('/api/profile/password, for one account', async (t) => {
    const person = { email: 'ada@example.com', password: PASSWORD, firstName: 'Ada', lastName: 'Lovelace' }
    const { token } = (await send('/api/auth/register', person, newAddress())).body
    const statuses: number[] = []
    for (let n = 0; n <= LIMIT; n++) {
      const headers = { 'x-forwarded-for': newAddress() }
      const json = { currentPassword: 'wrong horse', password: PASSWORD }
      statuses.push((await api.post('/api/profile/password', json, { token, headers })).status)
    }
    t.strictSame(statuses, [403, 403, 403, 429])
  })
})
