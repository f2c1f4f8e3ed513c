import t, { type Test } from 'tap'
import { catalogue } from '../../src/modules/catalogue.ts'
import { methodsOf } from '../../src/platform/host/http/methods.ts'
import { readRoutes } from '../../src/platform/host/openapi/read-routes.ts'
import { connect } from '../api/client.ts'
import { startSmtp } from '../support/smtp.ts'
import { startTopology } from '../support/topology.ts'
import { type Asked, CALLERS, TABLE } from './table.ts'
import { World } from './world.ts'

const SECRET = 'the secret of the permissions, of enough length'
t.setTimeout(400_000)

const { routes, server } = await readRoutes(catalogue)
t.teardown(() => server.close())
const declared = routes.flatMap((route) =>
  methodsOf(route)
    .filter((method) => method !== 'HEAD')
    .map((method) => ({ name: `${method} ${route.url}`, module: String(route.config?.module) })),
)

t.test('the table has a row for every route, and none for what is no route', async (t) => {
  t.strictSame(Object.keys(TABLE).sort(), declared.map(({ name }) => name).sort())
})

for (const [name, outside] of Object.entries({
  'in one process': [],
  'behind a gateway': ['users', 'posts', 'notifications'],
})) {
  t.test(`who may do what ${name}`, async (t) => {
    t.setTimeout(400_000)
    const smtp = await startSmtp()
    t.teardown(() => smtp.close())
    const topology = await startTopology({ outside, env: { SMTP_URL: smtp.url, SECRET } })
    t.teardown(() => topology.close())
    const api = connect(t, { url: topology.url, smtp, secret: SECRET, operate: topology.operate })
    const world = await World.make(api)
    for (const { name, module } of declared) {
      const row = TABLE[name]
      if (!row) continue
      await t.test(name, async (t) => {
        const around = row.ends ? await World.make(api) : world
        const found = await Promise.all(
          CALLERS.map(async (caller) => {
            const own = row.ends ? await around.withNewOwner() : around
            const asked = await row.ask(own)
            const credentials = own.credentials(caller, module)
            return statusOf(t, topology.url, name.split(' ')[0]!, asked, credentials)
          }),
        )
        const of = (statuses: readonly number[]) =>
          Object.fromEntries(CALLERS.map((caller, i) => [caller, statuses[i]]))
        t.strictSame(of(found), of(row.statuses))
      })
    }
  })
}

/** The status alone: an answer may go on and on. */
async function statusOf(
  t: Test,
  url: string,
  method: string,
  { path, json }: Asked,
  { token, headers }: { token?: string; headers?: Record<string, string> },
): Promise<number> {
  const aborting = new AbortController()
  const answer = await fetch(`${url}${path}`, {
    method,
    headers: {
      ...(json !== undefined && { 'content-type': 'application/json' }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(json !== undefined && { body: JSON.stringify(json) }),
    signal: aborting.signal,
  })
  if (answer.status >= 500) t.fail(`${method} ${path}: ${await answer.text()}`)
  aborting.abort()
  return answer.status
}
