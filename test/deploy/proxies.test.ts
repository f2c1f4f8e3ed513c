import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { catalogue } from '../../src/modules/catalogue.ts'
import { readRoutes } from '../../src/platform/host/openapi/read-routes.ts'

const read = (path: string) => readFile(join(import.meta.dirname, '../../deploy', path), 'utf8')

/** All that an expression finds in a text, by its first group. */
const all = (text: string, expression: RegExp) => [...text.matchAll(expression)].map(([, found]) => found!)

t.test('proxies repeat a POST with a key where the route takes keys, and nowhere else', async (t) => {
  const { routes, server } = await readRoutes(catalogue)
  t.teardown(() => server.close())
  const nginx = all(await read('nginx/nginx.conf'), /"~(\^POST .*)" 1;/g).map((pattern) => new RegExp(pattern))
  const haproxy = await read('haproxy/haproxy.cfg')
  const paths = all(haproxy, /acl takes-key path (.*)/g)
  const patterns = all(haproxy, /acl takes-key path_reg (.*)/g).map((pattern) => new RegExp(pattern))
  t.match([nginx.length, paths.length, patterns.length], [1, 1, 1])
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
      const found = name === 'POST' && (paths.includes(path) || patterns.some((pattern) => pattern.test(path)))
      t.equal(found, isRepeatable, `HAProxy: ${name} ${url}`)
    }
  }
  t.notOk(
    nginx.some((pattern) => pattern.test('POST  /api/posts')),
    'nor without a key',
  )
})
