import pino from 'pino'
import t, { type Test } from 'tap'
import { buildApp } from '../../../../src/app.ts'
import { readConfig } from '../../../../src/config.ts'
import { catalogue } from '../../../../src/modules/catalogue.ts'
import { type Answer, type Api, connect, refused } from '../../../api/client.ts'
import { startSmtp } from '../../../support/smtp.ts'
import { freshState, planTopology, startTopology, type TopologyOptions } from '../../../support/topology.ts'

const SECRET = 'the secret of a limited edge, of enough length'
const LIMIT = 5

async function limited(t: Test, options: TopologyOptions = {}): Promise<Api> {
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const env = { SMTP_URL: smtp.url, SECRET, RATE_LIMIT: `${LIMIT}`, ...options.env }
  const topology = await startTopology({ ...options, env })
  t.teardown(() => topology.close())
  return connect(t, { url: topology.url, smtp, secret: SECRET })
}

function tooMany(t: Test, answer: Answer, path: string): void {
  refused(t, answer, { status: 429, code: 'TooManyRequests', module: 'seam', path })
  const seconds = Number(answer.headers['retry-after'])
  t.ok(seconds >= 1 && seconds <= 60, 'Retry-After')
  t.match(answer.headers.ratelimit, /^"caller";r=0;t=\d+$/)
}

t.setTimeout(240_000)

const PLACES = { 'one process': [], 'a gateway before three services': ['users', 'posts', 'notifications'] }

for (const queue of ['postgres', 'redis'] as const) {
  for (const [place, outside] of Object.entries(PLACES)) {
    t.test(`who asks too often has to wait: ${place}, ${queue}`, async (t) => {
      const api = await limited(t, { queue, outside })
      const ada = await api.register('Ada')
      // The address has four left; what modules call each other for is not counted.
      for (const path of ['/api/posts', '/api/users/x', '/api/tags', '/api/notifications']) {
        t.not((await api.get(path)).status, 429, path)
      }
      for (const path of ['/api/posts', '/api/users/x', '/api/tags', '/api/health', '/openapi.json']) {
        tooMany(t, await api.get(path), path)
      }
      tooMany(t, await api.post('/api/auth/login', ada), '/api/auth/login')

      for (let n = 1; n <= LIMIT; n++) {
        const post = await api.post('/api/posts', { title: 'T', content: 'C' }, { token: ada.token })
        t.match(
          [post.status, /;r=(\d+)/.exec(String(post.headers.ratelimit))?.[1]],
          [201, `${LIMIT - n}`],
          'a user has a count of their own',
        )
      }
      tooMany(t, await api.post('/api/posts', { title: 'T', content: 'C' }, { token: ada.token }), '/api/posts')
      tooMany(t, await api.get('/api/notifications', { cookie: ada.cookie }), '/api/notifications')
    })
  }
}

t.test('credentials that are not good are counted by the address that tries them', async (t) => {
  const api = await limited(t)
  const ada = await api.register('Ada')
  t.equal((await api.send('POST', '/api/auth/logout', { token: ada.token })).status, 204)
  for (const [n, token] of [ada.token, 'x.y.z', 'none', ada.token].entries()) {
    const answer = await api.get('/api/posts', { token })
    refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path: '/api/posts' })
    t.match(answer.headers.ratelimit, new RegExp(`;r=${LIMIT - 2 - n};`))
  }
  tooMany(t, await api.get('/api/posts', { token: ada.token }), '/api/posts')
  tooMany(t, await api.post('/api/posts', { title: 'T' }, { token: 'x.y.z' }), '/api/posts')
})

t.test('nobody gets around the limit by naming other addresses', async (t) => {
  const api = await limited(t)
  const from = (address: string) =>
    api.get('/api/posts', { headers: { 'x-forwarded-for': address, 'x-real-ip': address } })
  for (let n = 1; n <= LIMIT; n++) t.equal((await from(`9.9.9.${n}`)).status, 200)
  tooMany(t, await from('9.9.9.9'), '/api/posts')
})

t.test('behind a trusted proxy each client has a limit of its own', async (t) => {
  const api = await limited(t, { env: { TRUST_PROXY: '127.0.0.1' } })
  const from = (address: string) => api.get('/api/posts', { headers: { 'x-forwarded-for': address } })
  for (let n = 1; n <= LIMIT; n++) t.equal((await from('9.9.9.1')).status, 200)
  tooMany(t, await from('9.9.9.1'), '/api/posts')
  t.equal((await from('9.9.9.2')).status, 200)
})

t.test('with Redis all edges count together', async (t) => {
  const state = await freshState('redis')
  t.teardown(() => state.close())
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const edges: Api[] = []
  for (let n = 0; n < 2; n++) {
    const { url, processes } = await planTopology({ state: state.env, env: { SECRET, RATE_LIMIT: `${LIMIT}` } })
    const app = await buildApp(readConfig(processes[0]!.env, catalogue), pino({ level: 'silent' }))
    t.teardown(() => app.close())
    await app.listen()
    edges.push(connect(t, { url, smtp, secret: SECRET }))
  }
  for (let n = 0; n < LIMIT; n++) t.equal((await edges[n % 2]!.get('/api/posts')).status, 200)
  for (const edge of edges) tooMany(t, await edge.get('/api/posts'), '/api/posts')
})

t.test('an IPv6 network (/64) is one client, and so is an IPv4 address in either of its forms', async (t) => {
  const api = await limited(t, { env: { TRUST_PROXY: '127.0.0.1' } })
  const from = (address: string) => api.get('/api/posts', { headers: { 'x-forwarded-for': address } })
  for (let n = 1; n <= LIMIT; n++) t.equal((await from(`2001:db8:0:1:${n}::9`)).status, 200)
  tooMany(t, await from('2001:DB8:0:1::1'), '/api/posts')
  t.equal((await from('2001:db8:0:2::1')).status, 200)
  for (let n = 1; n <= LIMIT; n++) t.equal((await from(n % 2 ? '9.9.9.1' : '::ffff:9.9.9.1')).status, 200)
  tooMany(t, await from('::ffff:909:901'), '/api/posts')
})
