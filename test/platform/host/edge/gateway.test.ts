import { request } from 'node:http'
import t, { type Test } from 'tap'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { type Api, connect, refused } from '../../../api/client.ts'
import { freePorts } from '../../../support/ports.ts'
import { startSmtp } from '../../../support/smtp.ts'
import { startTopology } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'
import { answering, listen, recorder, says, upstream } from './upstreams.ts'

const SECRET = 'the secret of a gateway, of enough length'

/** An edge that hosts all modules but posts, which it looks for at the given address. */
async function edgeBefore(t: Test, upstream: string, env: Record<string, string> = {}): Promise<Api> {
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const options = { outside: ['posts'], env: { SMTP_URL: smtp.url, SECRET, POSTS_URL: upstream, ...env } }
  const topology = await startTopology(options)
  t.teardown(() => topology.close())
  return connect(t, { url: topology.url, smtp, secret: SECRET })
}

t.setTimeout(240_000)

const unavailable = { status: 503, code: 'Unavailable', module: 'posts' }

t.test('a module that cannot be reached is named, for every method and below every prefix', async (t) => {
  const [port] = await freePorts(1)
  const api = await edgeBefore(t, `http://127.0.0.1:${port}`)
  const ada = await api.register('Ada')
  for (const path of ['/api/posts', '/api/posts/1', '/api/comments/1', '/api/tags']) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      refused(t, await api.send(method, path), { ...unavailable, path }, `${method} ${path}`)
    }
  }
  const body = JSON.stringify({ title: 'T', content: 'x'.repeat(900_000) })
  const headers = { 'content-type': 'application/json' }
  refused(t, await api.send('POST', '/api/posts', { ...ada, headers, body }), { ...unavailable, path: '/api/posts' })
  const head = await api.send('HEAD', '/api/posts')
  t.strictSame([head.status, head.text, head.headers['retry-after']], [503, '', '1'])
  t.equal((await api.get(`/api/users/${ada.id}`)).status, 200, 'the modules that are here answer')
})

t.test('an answer that is no HTTP is as good as none', async (t) => {
  const garbage = {
    'no HTTP': 'garbage\r\n\r\n',
    'half a status line': 'HTTP/1.1 20',
    'a status that does not exist': 'HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n',
    'a header that is none': 'HTTP/1.1 200 OK\r\n\0bad: x\r\ncontent-length: 0\r\n\r\n',
    'headers without end': `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}`,
    'a length that is none': 'HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n',
    nothing: '',
    'the error page of a proxy in between':
      'HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 22\r\n\r\n<h1>nginx/1.27.0</h1>\r\n',
    'an error page of unknown length': 'HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\n\r\nat node_modules/x.js:1:1',
  }
  let bytes = ''
  const api = await edgeBefore(t, await answering(t, () => bytes))
  for (const [what, answer] of Object.entries(garbage)) {
    bytes = answer
    for (const method of ['GET', 'POST']) {
      refused(t, await api.send(method, '/api/posts'), { ...unavailable, path: '/api/posts' }, `${method}: ${what}`)
    }
  }
  t.equal((await api.get('/openapi.json')).status, 200, 'the edge goes on')
})

t.test('a connection that is closed or reset at once is as good as none', async (t) => {
  const ends = ['end', 'destroy', 'resetAndDestroy'] as const
  let end: (typeof ends)[number]
  const api = await edgeBefore(t, await listen(t, (socket) => void socket[end]()))
  for (end of ends) {
    refused(t, await api.get('/api/posts'), { ...unavailable, path: '/api/posts' }, `GET: ${end}`)
    refused(t, await api.post('/api/posts', {}), { ...unavailable, path: '/api/posts' }, `POST: ${end}`)
  }
})

t.test('a module that never answers is given up at the deadline', async (t) => {
  t.setTimeout(240_000)
  const api = await edgeBefore(t, await listen(t, (socket) => socket.resume()))
  const late = { status: 503, code: 'DeadlineExceeded', module: 'posts', path: '/api/posts' }
  const started = performance.now()
  const asked = [api.get('/api/posts'), api.post('/api/posts', { title: 'T' }), api.send('DELETE', '/api/posts')]
  const health = await api.get('/api/health')
  t.ok(performance.now() - started < 1_000, 'health does not wait for it')
  t.match(health.body.services.posts, { status: 'unavailable', code: 'DeadlineExceeded' })
  for (const answer of await Promise.all(asked)) refused(t, answer, late)
  const took = performance.now() - started
  t.ok(took > 9_000 && took < 11_500, `after 10 s (${Math.round(took)} ms)`)
})

t.test('no more is passed on at a time than four times what a process answers of its own', async (t) => {
  const waiting: (() => void)[] = []
  const busy = await upstream(t, (request, response) => void waiting.push(() => says(200, {})(request, response)))
  const api = await edgeBefore(t, busy.url, { BUSY_LIMIT: '1' })
  const answers = Array.from({ length: 7 }, () => api.get('/api/tags'))
  const refusal = { status: 503, code: 'Overloaded', module: 'posts', path: '/api/tags' }
  refused(t, await Promise.race(answers), refusal, 'at once')
  await until('what is passed on', () => waiting.length === 4)
  for (const answer of waiting) answer()
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 200).length, 4)
})

t.test('a module whose address nobody has given cannot be reached', async (t) => {
  const api = await edgeBefore(t, '')
  refused(t, await api.get('/api/posts'), { ...unavailable, path: '/api/posts' })
  t.match((await api.get('/api/health')).body.services.posts, { status: 'unavailable', code: 'Unavailable' })
})

t.test('what is passed on is what was asked, and who asked, signed for this module alone', async (t) => {
  const tokens = systemTokens(SECRET)
  const { url, last } = await recorder(t)
  const api = await edgeBefore(t, url)
  const ada = await api.register('Ada')
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const forged = { 'x-seam-identity': 'forged', 'x-seam-service': 'forged', 'x-seam-timeout': '99999999' }
  const proxies = { 'x-forwarded-for': '9.9.9.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.example' }
  const known = { 'x-request-id': 'mine', traceparent, 'accept-language': 'de' }
  const path = '/api/posts/a%2Fb?x=1&x=2&y=%00&z=a+b%20c'

  await api.get(path, { token: ada.token, headers: { ...known, ...forged, ...proxies } })
  const { headers, url: asked } = last()
  t.equal(asked, path, 'the address is not touched')
  const word = tokens.identity.verify('posts', String(headers['x-seam-identity']))
  t.strictSame(word, { identity: { userId: ada.id, roles: ['member'], sessionId: word?.identity?.sessionId } })
  t.notOk(tokens.identity.verify('users', String(headers['x-seam-identity'])))
  t.notOk(headers.authorization, 'the token stays at the edge')
  t.notOk(headers['x-seam-service'])
  t.ok(Number(headers['x-seam-timeout']) > 9_000 && Number(headers['x-seam-timeout']) <= 10_000)
  t.match(headers, known)
  t.match(headers, {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-proto': 'http',
    'x-forwarded-host': new URL(api.target.url).host,
  })

  await api.post('/api/posts?', { title: 'ü' }, { cookie: ada.cookie })
  t.strictSame(tokens.identity.verify('posts', String(last().headers['x-seam-identity'])), word, 'a session, too')
  t.match([last().method, last().url, last().headers['content-type']], ['POST', '/api/posts?', 'application/json'])

  await api.get('/api/posts', { headers: forged })
  const nobody = tokens.identity.verify('posts', String(last().headers['x-seam-identity']))
  t.strictSame(nobody, { identity: null }, 'nobody is told as well')
})

t.test('the client’s address is believed from a trusted proxy only', async (t) => {
  const { url, last } = await recorder(t)
  const headers = { 'x-forwarded-for': '9.9.9.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'seam.example' }
  const api = await edgeBefore(t, url, { TRUST_PROXY: '127.0.0.1' })
  await api.get('/api/posts', { headers })
  t.match(last().headers, headers)
  await api.get('/api/posts', { headers: { 'x-forwarded-for': '6.6.6.6, 9.9.9.9' } })
  t.match(last().headers, { 'x-forwarded-for': '9.9.9.9' }, 'what the trusted proxy has seen, not what it was told')
})

t.test('what speaks of the connection to the client is not passed on, and the request is', async (t) => {
  const upstream = await recorder(t)
  const api = await edgeBefore(t, upstream.url)
  const headers = { 'keep-alive': 'timeout=5', te: 'trailers', expect: '100-continue', 'x-kept': 'yes' }
  const status = await new Promise((resolve, reject) => {
    const asked = request(`${api.target.url}/api/posts`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
    })
    asked.on('error', reject).on('response', (response) => resolve(response.resume().statusCode))
    asked.end('{}')
  })
  t.equal(status, 200)
  const { headers: passed } = upstream.last()
  t.equal(passed['x-kept'], 'yes')
  for (const name of ['keep-alive', 'te', 'expect']) t.notOk(name in passed, name)
})

t.test('a session cookie goes on only to modules that start sessions', async (t) => {
  const upstream = await recorder(t)
  const api = await edgeBefore(t, upstream.url)
  const ada = await api.register('Ada')
  t.equal((await api.get('/api/posts', { cookie: ada.cookie })).status, 200)
  t.notOk('cookie' in upstream.last().headers)
})
