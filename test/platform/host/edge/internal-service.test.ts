import type { AddressInfo } from 'node:net'
import { createSigner } from 'fast-jwt'
import t from 'tap'
import { keyFor, systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { BATCH_TYPE, callLine } from '../../../../src/platform/host/rpc/http/lines-of-calls.ts'
import { connect, refused } from '../../../api/client.ts'
import { startSmtp } from '../../../support/smtp.ts'
import { startTopology } from '../../../support/topology.ts'

const SECRET = 'the secret of a service, of enough length'
const tokens = systemTokens(SECRET)

t.setTimeout(240_000)

t.test('an internal service takes the word of its own system, and of nobody else', async (t) => {
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const topology = await startTopology({ outside: ['users', 'posts'], env: { SMTP_URL: smtp.url, SECRET } })
  t.teardown(() => topology.close())
  const edge = connect(t, { url: topology.url, smtp, secret: SECRET })
  const { port } = topology.apps.get('posts')!.api.server.address() as AddressInfo
  const posts = connect(t, { url: `http://127.0.0.1:${port}`, smtp, secret: SECRET })
  const ada = await edge.register('Ada')
  const identity = { userId: ada.id, roles: ['member' as const], sessionId: ada.id }
  const claims = { identity }
  const path = '/api/posts'

  await t.test('the word of an edge', async (t) => {
    const headers = { 'x-seam-identity': tokens.identity.sign('posts', claims) }
    const made = await posts.post(path, { title: 'T', content: 'C' }, { headers })
    t.match([made.status, made.body.data.author.id], [201, ada.id])
    // A stranger's credentials beside it change nothing: who vouches has looked at them already.
    const beside = await posts.get(path, { token: 'garbage', headers })
    t.equal(beside.status, 200)
    const nobody = { 'x-seam-identity': tokens.identity.sign('posts', { identity: null }) }
    t.equal((await posts.get(path, { headers: nobody })).status, 200, 'that nobody asks is a word, too')
    const anonymous = await posts.post(path, { title: 'T', content: 'C' }, { headers: nobody })
    refused(t, anonymous, { status: 401, code: 'Unauthenticated', module: 'seam', path })
  })

  await t.test('a word that is not good for this service', async (t) => {
    const seconds = Math.floor(Date.now() / 1000)
    const key = keyFor(SECRET, 'identity token')
    const signed = (payload: object, algorithm: 'HS256' | 'HS384' = 'HS256') =>
      createSigner({ key, algorithm })(payload)
    const good = tokens.identity.sign('posts', claims)
    const [head, body] = good.split('.')
    const words = {
      'for another module': tokens.identity.sign('users', claims),
      'for the public API': tokens.identity.sign('api', claims),
      expired: signed({ aud: 'posts', claims, iat: seconds - 120, exp: seconds - 60 }),
      'without an end': signed({ aud: 'posts', claims }),
      'without an audience': signed({ claims, exp: seconds + 60 }),
      'with claims of another shape': signed({ aud: 'posts', claims: identity, exp: seconds + 60 }),
      'with a role that does not exist': signed({
        aud: 'posts',
        claims: { identity: { ...identity, roles: ['god'] } },
        exp: seconds + 60,
      }),
      'of another algorithm': signed({ aud: 'posts', claims, exp: seconds + 60 }, 'HS384'),
      'of another system': systemTokens('x'.repeat(32)).identity.sign('posts', claims),
      'a user’s token': ada.token,
      'a service’s token': tokens.service.sign('posts', { caller: 'users' }),
      'without a signature': `${head}.${body}.`,
      twice: `${good}, ${good}`,
      empty: '',
      plain: JSON.stringify(claims),
    }
    for (const [what, word] of Object.entries(words)) {
      const answer = await posts.get(path, { headers: { 'x-seam-identity': word }, ...ada })
      refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path }, what)
    }
    t.equal((await posts.get(path, { headers: { 'x-seam-identity': good } })).status, 200, 'the good one is')
  })

  await t.test('how long the caller waits is believed from the system only, and bounded', async (t) => {
    const headers = { 'x-seam-identity': tokens.identity.sign('posts', claims) }
    for (const timeout of ['0', '-1', 'x', '1e12', '']) {
      const answer = await posts.get(path, { headers: { ...headers, 'x-seam-timeout': timeout } })
      t.equal(answer.status, 200, timeout)
    }
    const hurry = await posts.post(
      path,
      { title: 'T', content: 'C' },
      { headers: { ...headers, 'x-seam-timeout': '0.001' } },
    )
    refused(t, hurry, { status: 503, code: 'DeadlineExceeded', module: 'posts', path }, 'there is no time to answer')
  })

  await t.test('what may have been done already is done again only where that can do no harm', async (t) => {
    const headers = { 'x-seam-identity': tokens.identity.sign('posts', claims), 'x-seam-repeated': 'true' }
    const keyed = { ...headers, 'idempotency-key': 'the-same' }
    const made = await posts.post(path, { title: 'T', content: 'C' }, { headers: keyed })
    t.equal(made.status, 201)
    const one = `${path}/${made.body.data.id}`
    t.equal((await posts.get(one, { headers })).status, 200)
    for (const [method, json] of [
      ['PATCH', { title: 'U' }],
      ['DELETE', undefined],
    ] as const) {
      const answer = await posts.send(method, one, { json, headers: keyed })
      refused(t, answer, { status: 503, code: 'Unavailable', module: 'posts', path: one }, method)
      t.equal(answer.headers['x-seam-failed'], 'nobody')
    }
    const outside = await edge.send('DELETE', one, { token: ada.token, headers: { 'x-seam-repeated': 'true' } })
    t.equal(outside.status, 204, 'from outside it means nothing')
  })

  await t.test('a caller that may not call is told that there is nothing', async (t) => {
    const { port } = topology.apps.get('users')!.api.server.address() as AddressInfo
    const users = connect(t, { url: `http://127.0.0.1:${port}`, smtp, secret: SECRET })
    const known = { requestId: 'r', traceparent: '', identity: null, idempotencyKey: null }
    const body = callLine({ procedure: 'getUser', timeout: 5_000, ...known }, JSON.stringify({ id: ada.id }))
    const call = (caller: string) => {
      const headers = { 'content-type': BATCH_TYPE, 'x-seam-service': tokens.service.sign('users', { caller }) }
      return users.send('POST', '/_seam/users', { headers, body })
    }
    const allowed = await call('posts')
    t.equal(allowed.status, 200)
    t.match(allowed.text, new RegExp(`^0 .*${ada.id}`))
    for (const caller of ['notifications', 'users', 'nobody', ''])
      refused(t, await call(caller), { status: 404, code: 'NotFound', module: 'seam', path: '/_seam/users' }, caller)
    // The platform itself may ask for health there, and for nothing else.
    t.match((await call('seam')).text, /^0!.*"UnknownProcedure"/)
  })
})
