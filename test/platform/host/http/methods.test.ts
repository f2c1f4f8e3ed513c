import t from 'tap'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { bootWith, moduleOf } from '../boot.ts'

const { build } = await bootWith(t)
const desk = defineContract('methods-desk', { routes: ['/api/desk'] })
const anyone = { config: { allow: 'anyone' } } as const
const user = { config: { allow: 'user' } } as const

const module = moduleOf(desk, (app) => {
  app.get('/api/desk', anyone, async () => ({ data: [] }))
  app.post('/api/desk', user, async () => ({}))
  app.get('/api/desk/:id', anyone, async () => ({ data: {} }))
  // The same address, whatever the name.
  app.route({ method: ['PATCH', 'DELETE'], url: '/api/desk/:name', ...user, handler: async () => ({}) })
  app.put('/api/desk/own', user, async () => ({}))
  app.options('/api/desk/own', anyone, async (_request, reply) => reply.header('x-own', 'yes').send({}))
})

const ALLOWED = {
  '/api/desk': 'GET, HEAD, OPTIONS, POST',
  '/api/desk/1': 'DELETE, GET, HEAD, OPTIONS, PATCH',
  '/api/desk/own': 'OPTIONS, PUT',
}

for (const place of ['in one process', 'behind a gateway'] as const) {
  t.test(place, async (t) => {
    const hosting = await build(t, [module], place === 'in one process' ? {} : { EDGE: 'false' })
    const url = place === 'in one process' ? undefined : (await hosting.listen()).api
    const { api } = url ? await build(t, [module], { MODULES: 'none', METHODS_DESK_URL: url }) : hosting

    t.test('a method that no route answers is refused, with those that are answered', async (t) => {
      for (const [path, allow] of Object.entries(ALLOWED)) {
        for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const) {
          if (allow.split(', ').includes(method)) continue
          const answer = await api.inject({ method, url: `${path}?x=1` })
          t.match([answer.statusCode, answer.headers.allow], [405, allow], `${method} ${path}`)
          t.equal(answer.headers['content-type'], 'application/problem+json')
          if (method === 'HEAD') t.equal(answer.payload, '')
          else t.match(answer.json(), { code: 'MethodNotAllowed', module: 'methods-desk', status: 405 })
        }
      }
    })

    t.test('OPTIONS says what is answered, to anyone', async (t) => {
      for (const path of ['/api/desk', '/api/desk/1'] as const) {
        const answer = await api.inject({ method: 'OPTIONS', url: path })
        t.match([answer.statusCode, answer.headers.allow, answer.payload], [204, ALLOWED[path], ''])
      }
      const own = await api.inject({ method: 'OPTIONS', url: '/api/desk/own' })
      t.match([own.statusCode, own.headers['x-own']], [200, 'yes'], 'unless a route of its own does')
    })

    t.test('methods that are answered are, and still ask who it is', async (t) => {
      for (const [method, path, status] of [
        ['GET', '/api/desk', 200],
        ['HEAD', '/api/desk', 200],
        ['HEAD', '/api/desk/1', 200],
        ['POST', '/api/desk', 401],
        ['PATCH', '/api/desk/1', 401],
        ['PUT', '/api/desk/own', 401],
      ] as const)
        t.equal((await api.inject({ method, url: path })).statusCode, status, `${method} ${path}`)
    })

    t.test('an address that nobody has is not found, whatever the method', async (t) => {
      for (const path of ['/api/desk/1/2', '/api/desks', '/nowhere'])
        for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const) {
          const answer = await api.inject({ method, url: path })
          t.match([answer.statusCode, answer.headers.allow], [404, undefined], `${method} ${path}`)
        }
    })
  })
}

t.test('pages of other sites', async (t) => {
  const CORS_ORIGINS = 'https://app.example.com,https://other.example.com'
  const inside = await build(t, [module], { EDGE: 'false' })
  const { api: url } = await inside.listen()
  const edges = await Promise.all([
    build(t, [module], { CORS_ORIGINS }),
    build(t, [module], { CORS_ORIGINS, MODULES: 'none', METHODS_DESK_URL: url }),
  ])
  const origin = 'https://app.example.com'
  const varies = (vary: unknown) =>
    String(vary)
      .split(',')
      .filter((name) => name.trim().toLowerCase() === 'origin').length

  for (const [n, { api }] of edges.entries()) {
    const where = ['in one process', 'at a gateway'][n]!
    t.test(`a preflight is answered for any method that there is: ${where}`, async (t) => {
      for (const method of ['PUT', 'PATCH', 'DELETE']) {
        const headers = { origin, 'access-control-request-method': method }
        const answer = await api.inject({ method: 'OPTIONS', url: '/api/desk/1', headers })
        t.equal(answer.statusCode, 204)
        t.equal(answer.headers['access-control-allow-origin'], origin)
        t.ok(String(answer.headers['access-control-allow-methods']).split(', ').includes(method), method)
        t.equal(answer.headers['access-control-allow-credentials'], undefined)
      }
      const headers = { origin: 'https://evil.example.com', 'access-control-request-method': 'PUT' }
      const foreign = await api.inject({ method: 'OPTIONS', url: '/api/desk/1', headers })
      t.equal(foreign.headers['access-control-allow-origin'], undefined)
    })

    t.test(`any other OPTIONS is answered as ever: ${where}`, async (t) => {
      for (const headers of [{}, { origin }, { 'access-control-request-method': 'PUT' }]) {
        const answer = await api.inject({ method: 'OPTIONS', url: '/api/desk', headers })
        t.match([answer.statusCode, answer.headers.allow], [204, ALLOWED['/api/desk']], JSON.stringify(headers))
      }
    })

    t.test(`answers say who may read them, and that they vary by it: ${where}`, async (t) => {
      for (const path of ['/api/desk', '/api/desk/1', '/nowhere'])
        for (const headers of [{}, { origin }]) {
          const answer = await api.inject({ url: path, headers })
          t.equal(answer.headers['access-control-allow-origin'], 'origin' in headers ? origin : undefined)
          t.equal(varies(answer.headers.vary), 1, `${path} ${JSON.stringify(headers)}`)
        }
      const refused = await api.inject({ method: 'PUT', url: '/api/desk', headers: { origin } })
      t.match([refused.statusCode, refused.headers['access-control-allow-origin']], [405, origin])
      t.match(String(refused.headers['access-control-expose-headers']), /Allow, ETag, .*Retry-After/)
    })
  }
})
