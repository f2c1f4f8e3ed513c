import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { Agent, fetch } from 'undici'
import { catalogue } from '../../src/modules/catalogue.ts'
import { readRoutes } from '../../src/platform/host/openapi/read-routes.ts'
import { listen, upstream } from '../platform/host/edge/upstreams.ts'
import { startNginx } from '../support/nginx.ts'
import { until } from '../support/until.ts'

const read = (path: string) => readFile(join(import.meta.dirname, '../../deploy', path), 'utf8')

/** All that an expression finds in a text, by its first group. */
const all = (text: string, expression: RegExp) => [...text.matchAll(expression)].map(([, found]) => found!)

t.test('proxies repeat a POST with a key where the route takes keys, and nowhere else', async (t) => {
  const { routes, server } = await readRoutes(catalogue)
  t.teardown(() => server.close())
  const nginx = all(await read('nginx/nginx.conf'), /"~(\^POST .*)" 1;/g).map((pattern) => new RegExp(pattern))
  const haproxy = await read('haproxy/haproxy.cfg')
  const patterns = all(haproxy, /acl takes-key path_reg (.*)/g).map((pattern) => new RegExp(pattern))
  t.strictSame([nginx.length, patterns.length], [1, 1])
  for (const { method, url, config } of routes) {
    const path = url.replace(/:\w+/g, '0190-an-id')
    const isRepeatable = config?.idempotent === true
    for (const name of [method].flat()) {
      const line = `${name} a-key ${path}`
      t.equal(
        nginx.some((pattern) => pattern.test(line)),
        isRepeatable,
        `nginx: ${name} ${url}`,
      )
      // It asks for POST besides.
      const found = name === 'POST' && patterns.some((pattern) => pattern.test(path))
      t.equal(found, isRepeatable, `HAProxy: ${name} ${url}`)
    }
  }
  t.notOk(
    nginx.some((pattern) => pattern.test('POST  /api/posts')),
    'nor without a key',
  )
})

t.test('nginx leaves an edge that hangs for another in time', async (t) => {
  const hanging = await listen(t, (socket) => void socket.resume())
  const asked: IncomingMessage[] = []
  const good = await upstream(t, (request, response) => {
    asked.push(request)
    request.resume()
    response.end('{}')
  })
  const nginx = await startNginx([new URL(hanging).host, new URL(good.url).host])
  t.teardown(() => nginx.close())
  const dispatcher = new Agent({ connect: { ca: nginx.ca }, headersTimeout: 20_000 })
  t.teardown(() => dispatcher.destroy())
  const ask = (method: string) =>
    fetch(`${nginx.url}/api/posts`, { method, headers: { traceparent: 'from outside' }, dispatcher }).then(
      ({ status }) => status,
    )
  // Until one has failed, both are asked.
  const reads = await Promise.all(Array.from({ length: 4 }, () => ask('GET')))
  t.strictSame(reads, [200, 200, 200, 200])
  t.equal(asked.length, 4)
  const { host } = new URL(nginx.url)
  for (const { headers } of asked) {
    t.match(headers, { host, 'x-forwarded-host': host }, 'with the port')
    t.equal(headers.traceparent, undefined)
  }
})

t.test('when no edge answers, nginx does: in problems, and without a word of queries in its log', async (t) => {
  // As many as it tries: with fewer it would come to the one that answers for nobody.
  const cutting = await Promise.all(Array.from({ length: 3 }, () => listen(t, (socket) => void socket.destroy())))
  for (const [method, path, headers] of [
    ['GET', '/api/users', {}],
    ['POST', '/api/posts', {}],
    ['POST', '/api/posts', { 'idempotency-key': 'a-key' }],
  ] as const) {
    // One that has left out nobody yet.
    const nginx = await startNginx(cutting.map((url) => new URL(url).host))
    t.teardown(() => nginx.close())
    const dispatcher = new Agent({ connect: { ca: nginx.ca } })
    t.teardown(() => dispatcher.destroy())
    const answer = await fetch(`${nginx.url}${path}?search=ada@example.com`, { method, headers, dispatcher })
    t.equal(answer.status, 502, method)
    t.equal(answer.headers.get('content-type'), 'application/problem+json')
    t.ok(answer.headers.get('retry-after'))
    t.match(await answer.json(), { status: 502, code: 'Proxy' })
    await until('the request is in the log', async () => (await nginx.log()).includes(`"path":"${path}"`))
    t.notMatch(await nginx.log(), 'ada@example.com')
  }
})
