import type { Test } from 'tap'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { type Answer, type Api, refused } from './client.ts'

const NOWHERE = '/api/posts/01900000-0000-7000-8000-000000000000'

export async function conventions(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')

  await t.test('health names every module, wherever it runs', async (t) => {
    const answer = await api.get('/api/health')
    t.equal(answer.status, 200)
    t.equal(answer.headers['cache-control'], 'no-store')
    t.equal(answer.body.status, 'healthy')
    t.strictSame(Object.keys(answer.body.services).sort(), ['notifications', 'posts', 'users'])
    for (const service of Object.values<any>(answer.body.services)) {
      t.equal(service.status, 'healthy')
      t.type(service.responseTime, 'number')
      t.ok(service.responseTime >= 0 && service.responseTime < 1000)
    }
  })

  await t.test('a request id is made, or taken if it is well formed', async (t) => {
    for (const path of ['/api/posts', '/api/users/x', '/api/nowhere', '/openapi.json']) {
      const [one, other] = await Promise.all([api.get(path), api.get(path)])
      t.match(one.headers['x-request-id'], /^[0-9a-f-]{36}$/)
      t.not(one.headers['x-request-id'], other.headers['x-request-id'])
      const taken = await api.get(path, { headers: { 'x-request-id': 'my.Request-1_2' } })
      t.equal(taken.headers['x-request-id'], 'my.Request-1_2')
      if (taken.status >= 400) t.equal(taken.body.requestId, 'my.Request-1_2')
      for (const bad of ['', 'a b', 'a,b', '<x>', 'x'.repeat(129), '{"a":1}']) {
        const made = await api.get(path, { headers: { 'x-request-id': bad } })
        t.match(made.headers['x-request-id'], /^[0-9a-f-]{36}$/, `instead of ${bad}`)
      }
    }
  })

  await t.test('what nothing answers is a problem with 404', async (t) => {
    const paths = [
      '/',
      '/api',
      '/api/',
      '/api/nowhere',
      '/apix',
      '/api/postsx',
      '/api/posts/x/y/z',
      '/api/tags/none/at/all',
      '/metrics',
      '/livez',
    ]
    for (const path of paths) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        refused(
          t,
          await api.send(method, path),
          { status: 404, code: 'NotFound', module: 'seam', path },
          `${method} ${path}`,
        )
      }
    }
  })

  await t.test('calls between processes do not exist for anyone without a service token', async (t) => {
    const tokens = systemTokens(api.target.secret)
    const foreign = systemTokens('x'.repeat(32))
    const json = { id: ada.id }
    const headers = { 'x-request-id': 'same' }
    const unknown = await api.post('/_nowhere/users/getUser', json, { headers })
    refused(t, unknown, { status: 404, code: 'NotFound', module: 'seam', path: '/_nowhere/users/getUser' })
    const asUnknown = ({ status, headers: { date: _date, ...rest }, text }: Answer, path: string) => {
      for (const name of Object.keys(rest)) if (name.startsWith('ratelimit')) delete rest[name]
      return { status, headers: { ...rest, 'content-length': '' }, text: text.replaceAll(path, '…') }
    }
    const expected = asUnknown(unknown, '/_nowhere/users/getUser')

    const tries: Record<string, string>[] = [
      {},
      { 'x-seam-service': 'x' },
      { 'x-seam-service': foreign.service.sign('users', { caller: 'posts' }) },
      { 'x-seam-service': tokens.service.sign('posts', { caller: 'posts' }) },
      { 'x-seam-service': tokens.service.sign('users', { caller: 'notifications' }) },
      { 'x-seam-service': tokens.user.sign('users', { userId: ada.id, sessionId: ada.id }) },
      { authorization: `Bearer ${ada.token}` },
      { 'x-seam-identity': tokens.identity.sign('users', { identity: null }) },
    ]
    for (const path of [
      '/_seam/users/getUser',
      '/_seam/users/$health',
      '/_seam/users/none',
      '/_seam/none/none',
      '/_seam',
      '/_seam/',
    ]) {
      for (const [index, more] of tries.entries()) {
        const answer = await api.post(path, json, { headers: { ...headers, ...more } })
        t.strictSame(asUnknown(answer, path), expected, `${path}, try ${index}`)
      }
      for (const method of ['GET', 'PUT', 'DELETE']) {
        t.strictSame(asUnknown(await api.send(method, path, { headers }), path), expected, `${method} ${path}`)
      }
    }
  })

  await t.test('headers of the system itself are worth nothing from outside', async (t) => {
    const foreign = systemTokens('y'.repeat(32))
    const identity = { userId: ada.id, roles: ['admin' as const], sessionId: ada.id }
    const forged: Record<string, string>[] = [
      { 'x-seam-identity': JSON.stringify({ identity }) },
      { 'x-seam-identity': foreign.identity.sign('users', { identity }) },
      { 'x-seam-identity': foreign.identity.sign('posts', { identity }) },
      { 'x-seam-identity': ada.token },
      { 'x-seam-service': foreign.service.sign('users', { caller: 'posts' }), 'x-user-id': ada.id },
      { 'x-seam-timeout': '1', 'x-forwarded-user': ada.id },
      { connection: 'x-seam-identity, x-seam-timeout, x-request-id' },
    ]
    for (const headers of forged) {
      const user = await api.get(`/api/users/${ada.id}`, { headers })
      t.equal(user.status, 200)
      t.notOk(user.body.data.email, 'nobody')
      t.equal((await api.get('/api/notifications', { headers })).status, 401)
      t.equal((await api.post('/api/posts', { title: 'Forged', content: 'x' }, { headers })).status, 401)
      const own = await api.get(`/api/users/${ada.id}`, { headers, token: ada.token })
      t.equal(own.body.data?.email, ada.email, 'nor do they keep anybody out')
    }
  })

  await t.test('every answer carries the headers that protect browsers', async (t) => {
    const answers = [
      await api.get('/api/posts'),
      await api.get(`/api/users/${ada.id}`),
      await api.get('/api/notifications'),
      await api.get(NOWHERE),
      await api.get('/api/health'),
      await api.get('/nowhere'),
      await api.get('/openapi.json'),
    ]
    for (const { headers } of answers) {
      t.match(headers, {
        'content-security-policy': "default-src 'none';frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'strict-transport-security': /max-age=\d+/,
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
      })
      t.notOk(headers['x-powered-by'])
      t.notOk(headers.server)
    }
  })

  await t.test('no other site may use the API unless it is configured', async (t) => {
    const headers = { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' }
    const answers = [
      await api.get('/api/posts', { headers }),
      await api.get('/api/health', { headers }),
      await api.send('OPTIONS', '/api/posts', { headers }),
      await api.send('OPTIONS', '/api/health', { headers }),
    ]
    for (const answer of answers) {
      t.strictSame(
        Object.keys(answer.headers).filter((name) => name.startsWith('access-control')),
        [],
      )
    }
  })

  await t.test('the state of the limit is told', async (t) => {
    const one = await api.get('/api/posts', { token: ada.token })
    const two = await api.get('/api/users/x', { token: ada.token })
    const left = ({ headers }: Answer) => Number(/;r=(\d+)/.exec(String(headers.ratelimit))?.[1])
    t.equal(left(two), left(one) - 1, 'one count for all modules')
    t.match(one.headers, {
      'ratelimit-policy': /^"caller";q=\d+;w=60$/,
      ratelimit: /^"caller";r=\d+;t=\d+$/,
    })
  })
}
