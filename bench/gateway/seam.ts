import pino from 'pino'
import { Balancer } from '../../src/platform/host/balancing/balancer.ts'
import { staticDiscovery } from '../../src/platform/host/discovery/static.ts'
import { authenticate, refuseCredentials } from '../../src/platform/host/edge/authenticate.ts'
import { proxyModules } from '../../src/platform/host/edge/gateway.ts'
import { limitRequests } from '../../src/platform/host/edge/limits.ts'
import { sendSecurityHeaders } from '../../src/platform/host/edge/security-headers.ts'
import { createServer } from '../../src/platform/host/http/server.ts'
import type { KeptSession, SessionKeeper } from '../../src/platform/host/identity/session-keepers.ts'
import { sessionsIn } from '../../src/platform/host/identity/sessions.ts'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { RetryBudgets } from '../../src/platform/host/rpc/policies/retry-budget.ts'
import { defineContract } from '../../src/platform/kit/contract.ts'
import { defineModule } from '../../src/platform/kit/module.ts'
import { noSessions } from '../../test/support/no-sessions.ts'
import { serve } from '../lib/children.ts'

const SECRET = 'the benchmark keeps nothing secret, and says so in 32 or more letters'
const USER = '01980000-0000-7000-8000-000000000001'
const never = async () => {
  throw new Error('Nobody asks for that here.')
}

/**
 * An edge as `app.ts` composes it, before one module that runs elsewhere. Its one session is kept in memory: how fast
 * PostgreSQL or Redis find it is not what is measured.
 */
await serve<{ upstream: string }>(async ({ upstream }) => {
  const log = pino({ level: 'warn' })
  const tokens = systemTokens(SECRET)
  const kept: KeptSession = { id: USER, data: { record: { userId: USER, roles: ['member'] } }, lastUsedAt: new Date() }
  const keeper: SessionKeeper = {
    ...noSessions,
    get: async () => kept,
    touch: async () => {},
    noteWrite: async () => {},
  }
  const server = createServer({ log, trustProxy: [] })
  sendSecurityHeaders(server)
  authenticate(server, { edge: true, tokens, sessions: sessionsIn(keeper, { secret: SECRET, tokens, log }) })
  limitRequests(server, { perMinute: 1_000_000_000, attemptsPerMinute: 20, redis: undefined })
  refuseCredentials(server)
  const balancer = new Balancer(staticDiscovery(new Map([['posts', [upstream]]])))
  const budgets = new RetryBudgets()
  const posts = defineModule(defineContract('posts', { routes: ['/api/posts'] }), { plugin: never })
  await proxyModules(server, [posts], { balancer, tokens, budgetOf: (module) => budgets.of(module) })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const token = tokens.user.sign('api', { userId: USER, sessionId: USER })
  return { ready: { port: Number(new URL(url).port), token } }
})
