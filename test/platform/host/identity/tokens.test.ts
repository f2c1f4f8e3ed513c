import { createHmac, generateKeyPairSync } from 'node:crypto'
import { mock } from 'node:test'
import { createSigner } from 'fast-jwt'
import t, { type Test } from 'tap'
import {
  INTERNAL_TOKEN_LIFETIME,
  keyFor,
  systemTokens,
  USER_TOKEN_LIFETIME,
} from '../../../../src/platform/host/identity/tokens.ts'
import { type Identity, Identity as IdentitySchema } from '../../../../src/platform/kit/permissions.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const tokens = systemTokens(SECRET)
const identity: Identity = {
  userId: '01890000-0000-7000-8000-000000000001',
  roles: ['member'],
  sessionId: '01890000-0000-7000-8000-00000000005e',
}
/** What a user's token says; the roles are the session's. */
const subject = { userId: identity.userId, sessionId: identity.sessionId }

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const parts = (token: string) => token.split('.').map((part) => Buffer.from(part, 'base64url'))
const payloadOf = (token: string) => JSON.parse(parts(token)[1]!.toString())

/** Lets time be moved by hand for one test. */
function clock(t: Test) {
  const started = Date.now()
  mock.timers.enable({ apis: ['Date'], now: started })
  t.teardown(() => mock.timers.reset())
  return { at: (seconds: number) => mock.timers.setTime(started + seconds * 1000) }
}

t.test('what is signed is read, for the same purpose and audience', async (t) => {
  t.strictSame(tokens.user.verify('api', tokens.user.sign('api', subject)), subject)
  t.strictSame(tokens.service.verify('users', tokens.service.sign('users', { caller: 'posts' })), { caller: 'posts' })
  t.strictSame(tokens.identity.verify('users', tokens.identity.sign('users', { identity })), { identity })
  t.strictSame(tokens.identity.verify('users', tokens.identity.sign('users', { identity: null })), { identity: null })
})

t.test('a token for one audience is worthless at another', async (t) => {
  const token = tokens.service.sign('users', { caller: 'posts' })
  for (const audience of ['posts', 'user', 'users2', 'Users', '', '.*', '^users$'])
    t.equal(tokens.service.verify(audience, token), undefined, audience)
  t.ok(tokens.service.verify('users', token))
})

t.test('a token made for one purpose is worthless for another, even with the same claims', async (t) => {
  const kinds = ['user', 'service', 'identity'] as const
  const keys = { user: 'user token', service: 'service token', identity: 'identity token' }
  const shapes = { user: subject, service: { caller: 'posts' }, identity: { identity } }
  for (const made of kinds) {
    for (const read of kinds) {
      const token = createSigner({ key: keyFor(SECRET, keys[made]), algorithm: 'HS256', expiresIn: 60_000 })({
        aud: 'api',
        claims: shapes[read],
      })
      const seen = tokens[read].verify('api', token)
      if (made === read) t.strictSame(seen, shapes[read])
      else t.equal(seen, undefined, `${made} for ${read}`)
    }
  }
})

t.test('identities that differ in anything have different tokens', async (t) => {
  const other = '01890000-0000-7000-8000-0000000000ff'
  const each: Required<Identity> = { userId: other, sessionId: other, roles: ['member', 'admin'], wroteAt: 5 }
  t.strictSame(Object.keys(each).sort(), Object.keys(IdentitySchema.properties).sort(), 'nothing is forgotten')
  const different = Object.entries(each).map(([name, value]) => ({ ...identity, [name]: value }) as Identity)
  const all = [null, identity, ...different, { ...identity, roles: [] }, { ...identity, wroteAt: 6 }]
  const signed = all.map((identity) => tokens.identity.sign('users', { identity }))
  t.equal(new Set(signed).size, all.length)
  t.strictSame(
    signed.map((token) => tokens.identity.verify('users', token)?.identity),
    all,
  )
  t.strictSame(
    all.map((identity) => tokens.identity.sign('users', { identity: structuredClone(identity) })),
    signed,
    'the same ones have the same',
  )
})

t.test('a token of a system with another secret is worthless', async (t) => {
  const others = systemTokens('another secret, which is also of enough length')
  t.equal(tokens.user.verify('api', others.user.sign('api', subject)), undefined)
})

t.test('a user token lasts an hour, an internal one a minute, and clocks may differ by five seconds', async (t) => {
  const { at } = clock(t)
  const user = tokens.user.sign('api', subject)
  const service = tokens.service.sign('users', { caller: 'posts' })
  const { iat, exp } = payloadOf(user)
  t.equal(exp - iat, USER_TOKEN_LIFETIME)
  t.equal(payloadOf(service).exp - payloadOf(service).iat, INTERNAL_TOKEN_LIFETIME)
  for (const [seconds, good] of [
    [0, true],
    [INTERNAL_TOKEN_LIFETIME - 1, true],
    [INTERNAL_TOKEN_LIFETIME + 3, true],
    [INTERNAL_TOKEN_LIFETIME + 6, false],
  ] as const) {
    at(seconds)
    t.equal(tokens.service.verify('users', service) !== undefined, good, `${seconds} s`)
  }
  at(USER_TOKEN_LIFETIME - 1)
  t.ok(tokens.user.verify('api', user))
  at(USER_TOKEN_LIFETIME + 6)
  t.equal(tokens.user.verify('api', user), undefined)
})

t.test(
  'a token of a clock that is a few seconds ahead is good, one from further ahead is only good later',
  async (t) => {
    const { at } = clock(t)
    at(4)
    const token = tokens.service.sign('users', { caller: 'posts' })
    at(0)
    t.ok(tokens.service.verify('users', token))
  },
)

t.test('a token that was found good before still expires', async (t) => {
  const { at } = clock(t)
  const token = tokens.service.sign('users', { caller: 'posts' })
  for (let n = 0; n < 5; n++) t.ok(tokens.service.verify('users', token), 'the answer may come from the cache')
  at(INTERNAL_TOKEN_LIFETIME + 6)
  t.equal(tokens.service.verify('users', token), undefined)
  t.equal(tokens.service.verify('users', token), undefined)
})

t.test('a token that was found good at one audience is still worthless at another', async (t) => {
  const token = tokens.service.sign('users', { caller: 'posts' })
  t.ok(tokens.service.verify('users', token))
  t.equal(tokens.service.verify('posts', token), undefined)
  t.ok(tokens.service.verify('users', token))
})

t.test('changing a token anywhere makes it worthless', async (t) => {
  const token = tokens.user.sign('api', subject)
  t.ok(tokens.user.verify('api', token))
  for (let place = 0; place < token.length - 1; place++) {
    const other = token[place] === 'A' ? 'B' : 'A'
    const changed = token.slice(0, place) + other + token.slice(place + 1)
    if (tokens.user.verify('api', changed)) t.fail(`changed at ${place}`)
  }
  const [head, body, mac] = token.split('.') as [string, string, string]
  const raised = base64({ ...payloadOf(token), claims: { ...subject, userId: '01890000-0000-7000-8000-000000000002' } })
  for (const forged of [
    `${head}.${raised}.${mac}`,
    `${head}.${body}.`,
    `${head}.${body}`,
    `${head}..${mac}`,
    `.${body}.${mac}`,
  ])
    t.equal(tokens.user.verify('api', forged), undefined, forged)
})

t.test('the token does not choose how it is checked', async (t) => {
  const now = Math.floor(Date.now() / 1000)
  const payload = base64({ aud: 'api', iat: now, exp: now + 60, claims: subject })
  for (const alg of ['none', 'None', 'NONE', '', undefined]) {
    const head = base64({ typ: 'JWT', alg })
    for (const token of [`${head}.${payload}.`, `${head}.${payload}`, `${head}.${payload}.AAAA`])
      t.equal(tokens.user.verify('api', token), undefined, `${alg}`)
  }
  const key = keyFor(SECRET, 'user token')
  const unsigned = `${base64({ typ: 'JWT', alg: 'none' })}.${payload}`
  const mac = createHmac('sha256', key).update(unsigned).digest('base64url')
  t.equal(tokens.user.verify('api', `${unsigned}.${mac}`), undefined, 'well signed, and says that it is not')
  const HS512 = createSigner({ key, algorithm: 'HS512', expiresIn: 60_000 })
  t.equal(tokens.user.verify('api', HS512({ aud: 'api', claims: subject })), undefined, 'HS512')
  const { privateKey } = generateKeyPairSync('ed25519')
  const EdDSA = createSigner({ key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, algorithm: 'EdDSA' })
  t.equal(tokens.user.verify('api', EdDSA({ aud: 'api', exp: now + 60, claims: subject })), undefined, 'EdDSA')
})

t.test('a token says for whom and until when, and carries claims of the right shape', async (t) => {
  const sign = createSigner({ key: keyFor(SECRET, 'user token'), algorithm: 'HS256' })
  const exp = Math.floor(Date.now() / 1000) + 60
  t.strictSame(tokens.user.verify('api', sign({ aud: 'api', exp, claims: subject })), subject)
  const bad: Record<string, object> = {
    'no audience': { exp, claims: subject },
    'no end': { aud: 'api', claims: subject },
    'no claims': { aud: 'api', exp },
    'not begun': { aud: 'api', exp: exp + 600, nbf: exp, claims: subject },
    'no session': { aud: 'api', exp, claims: { userId: identity.userId } },
    'roles, which are not its to give': { aud: 'api', exp, claims: identity },
    'an id that is none': { aud: 'api', exp, claims: { ...identity, userId: "' or 1=1" } },
    'more than it should': { aud: 'api', exp, claims: { ...identity, admin: true } },
    'claims beside the claims': { aud: 'api', exp, ...identity },
  }
  for (const [what, payload] of Object.entries(bad)) t.equal(tokens.user.verify('api', sign(payload)), undefined, what)
})

t.test('what is no token at all is nobody', async (t) => {
  for (const text of ['', '.', '..', '...', 'a.b.c', 'null', '{}', 'x'.repeat(100_000), '\0', 'é.é.é', 'Bearer x.y.z'])
    t.equal(tokens.user.verify('api', text), undefined)
})

t.test('an internal token is made anew when half of its life is over, and for other claims', async (t) => {
  const { at } = clock(t)
  const sign = (caller = 'posts', audience = 'users') => tokens.service.sign(audience, { caller })
  const first = sign()
  at(INTERNAL_TOKEN_LIFETIME / 2 - 1)
  t.equal(sign(), first)
  t.not(sign('notifications'), first)
  t.not(sign('posts', 'notifications'), first)
  at(INTERNAL_TOKEN_LIFETIME / 2 + 1)
  t.not(sign(), first)
  t.strictSame(tokens.service.verify('users', sign()), { caller: 'posts' })
})

t.test('every sign-in gets a token of its own', async (t) => {
  t.not(tokens.user.sign('api', subject), tokens.user.sign('api', subject))
})
