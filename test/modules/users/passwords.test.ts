import { argon2Sync, randomBytes } from 'node:crypto'
import t from 'tap'
import { OWASP_MEMORY, Passwords } from '../../../src/modules/users/passwords.ts'
import { startUsers, watchHashing } from './start.ts'

const passwords = new Passwords(OWASP_MEMORY)

/** A password as it would have been hashed with less effort. */
function weakHash(password: string): string {
  const nonce = randomBytes(16)
  const hash = argon2Sync('argon2id', {
    message: password,
    nonce,
    memory: 8_192,
    passes: 1,
    parallelism: 1,
    tagLength: 32,
  })
  return `$argon2id$v=19$m=8192,t=1,p=1$${nonce.toString('base64')}$${hash.toString('base64')}`.replaceAll('=$', '$')
}

t.test('a hash says how it was made, and fits its password only', async (t) => {
  const [one, other] = await Promise.all([passwords.hash('correct horse'), passwords.hash('correct horse')])
  t.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  t.not(one, other, 'each has a salt of its own')
  t.ok(await passwords.verify('correct horse', one))
  t.notOk(await passwords.verify('Correct horse', one))
  t.notOk(await passwords.verify('', passwords.nobody))
  t.ok(await passwords.verify('correct horse', weakHash('correct horse')), 'with the parameters that it names')
  t.strictSame(
    [passwords.isOutdated(one), passwords.isOutdated(passwords.nobody), passwords.isOutdated(weakHash('x'))],
    [false, false, true],
  )
})

t.test('few passwords are hashed at a time, some wait, and the rest is refused', async (t) => {
  const seen = watchHashing(t)
  const results = await Promise.allSettled(Array.from({ length: 300 }, (_, n) => passwords.hash(`horse ${n}`)))
  const refused = results.filter((result) => result.status === 'rejected')
  t.ok(seen.atOnce <= 3, 'so many at a time')
  t.equal(seen.count, results.length - refused.length)
  t.equal(results.length - refused.length - seen.atOnce, 100, 'so many may wait')
  t.strictSame([...new Set(refused.map(({ reason }) => `${reason.status} ${reason.code}`))], ['503 Busy'])
  t.ok(await passwords.hash('later'), 'and then it goes on')
})

t.test('at sign-in', async (t) => {
  const { api, sql, signIn } = await startUsers(t, { env: { PASSWORD_MEMORY: '19456' } })
  const seen = watchHashing(t)
  const hashesOf = async (work: () => Promise<unknown>) => {
    const before = seen.count
    await work()
    return seen.count - before
  }

  await t.test('a wrong password takes as much work as an address that nobody has', async (t) => {
    const { email } = await api.register()
    const password = 'wrong horse'
    t.equal(await hashesOf(() => signIn({ email, password })), 1)
    t.equal(await hashesOf(() => signIn({ email: `nobody.${email}`, password })), 1)
    const gone = await api.register()
    await api.send('DELETE', `/api/users/${gone.id}`, gone)
    t.equal(await hashesOf(() => signIn(gone)), 1, 'or had')
    for (const address of [email, `nobody.${email}`]) {
      t.equal(await hashesOf(() => api.post('/api/auth/forgot-password', { email: address })), 0)
    }
  })

  await t.test('a password that was hashed with less effort is hashed again', async (t) => {
    const ada = await api.register()
    await sql`update users.users set password_hash = ${weakHash(ada.password)} where id = ${ada.id}`
    t.equal(await hashesOf(() => signIn({ ...ada, password: 'wrong horse' })), 1)
    t.equal((await signIn(ada)).status, 200)
    const [row] = await sql`select password_hash from users.users where id = ${ada.id}`
    t.match(row!.password_hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    t.equal(await hashesOf(() => signIn(ada)), 1, 'once')
    t.equal((await signIn(ada)).status, 200)
  })
})
