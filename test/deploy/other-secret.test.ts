import pino from 'pino'
import t from 'tap'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { catalogue } from '../../src/modules/catalogue.ts'
import { freshState, planTopology } from '../support/topology.ts'

t.test('a process with another secret than the rest serves none of them', async (t) => {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  t.teardown(() => state.close())
  const { url, processes } = await planTopology({ outside: ['users'], state: state.env })
  for (const { name, env } of processes) {
    const own = name === 'users' ? { SECRET: 'a secret that nobody else here has been given' } : {}
    const app = await buildApp(readConfig({ ...env, ...own }, catalogue), pino({ level: 'silent' }))
    t.teardown(() => app.close())
    await app.listen()
  }
  const ask = (path: string, init?: RequestInit) => fetch(url + path, { signal: AbortSignal.timeout(15_000), ...init })
  const login = await ask('/api/auth/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'a@example.com', password: 'x' }),
  })
  t.match([login.status, await login.json()], [401, { code: 'Unauthenticated' }])
  const health = await ask('/api/health')
  t.match([health.status, await health.json()], [503, { services: { users: { status: 'unavailable' } } }])
})
