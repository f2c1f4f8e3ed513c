import t from 'tap'
import { checkFromOutside } from '../../scripts/verify-deploy/outside.ts'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { startNginx } from '../support/nginx.ts'
import { startTopology } from '../support/topology.ts'

t.setTimeout(400_000)
// Most of it is waiting for clients to be given up.
t.jobs = 2

const SECRET = 'a secret that only these tests know, of enough length'
const USER = '01980000-0000-7000-8000-000000000001'
const { identity, service, user } = systemTokens(SECRET)
const claims = { userId: USER, sessionId: USER, roles: ['admin' as const] }
const tokens = {
  'that a process signs for another': identity.sign('users', { identity: claims }),
  'of a process': service.sign('users', { caller: 'posts' }),
  'for another audience': user.sign('elsewhere', { userId: USER, sessionId: USER }),
  'of a session that there is not': user.sign('api', { userId: USER, sessionId: USER }),
  'of another system': systemTokens(`${SECRET}, another`).user.sign('api', { userId: USER, sessionId: USER }),
}

const topology = await startTopology({ outside: ['users', 'posts', 'notifications'] })
t.teardown(() => topology.close())

t.test('nothing internal answers the outside, through the gateway', async (t) => {
  t.strictSame(await checkFromOutside({ url: topology.url, tokens }), [])
})

t.test('nothing internal answers the outside, through nginx as it is delivered', async (t) => {
  const nginx = await startNginx([new URL(topology.url).host])
  t.teardown(() => nginx.close())
  t.strictSame(await checkFromOutside({ url: nginx.url, ca: nginx.ca, tokens }), [])
})

t.test('a process behind the gateway answers nobody who asks it directly', async (t) => {
  for (const name of ['users', 'posts', 'notifications']) {
    const { listeningOrigin } = topology.apps.get(name)!.api
    const forged = systemTokens('a secret that somebody outside has thought of')
    const headers = {
      authorization: `Bearer ${tokens['of a session that there is not']}`,
      'x-seam-identity': forged.identity.sign(name, { identity: claims }),
      'x-seam-service': forged.service.sign(name, { caller: 'posts' }),
      'content-type': 'application/json',
    }
    for (const [path, method] of [
      ['/api/posts', 'GET'],
      ['/api/profile', 'GET'],
      ['/api/notifications', 'GET'],
      ['/_seam/call', 'POST'],
      ['/metrics', 'GET'],
      ['/console', 'GET'],
    ] as const) {
      const init = { method, headers, ...(method === 'POST' && { body: '{}' }) }
      const { status } = await fetch(listeningOrigin + path, init)
      t.ok(status === 401 || status === 403 || status === 404, `${name}: ${method} ${path} is answered with ${status}`)
    }
  }
})
