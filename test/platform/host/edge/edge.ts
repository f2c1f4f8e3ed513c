import pino from 'pino'
import type { Test } from 'tap'
import { Balancer } from '../../../../src/platform/host/balancing/balancer.ts'
import type { Instance } from '../../../../src/platform/host/balancing/instance.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'
import { authenticate, refuseCredentials } from '../../../../src/platform/host/edge/authenticate.ts'
import { proxyModules } from '../../../../src/platform/host/edge/gateway.ts'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { sessionsIn } from '../../../../src/platform/host/identity/sessions.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { IDENTITY_HEADER, TIMEOUT_HEADER } from '../../../../src/platform/host/rpc/wire.ts'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { Unavailable } from '../../../../src/platform/kit/errors.ts'
import { defineModule } from '../../../../src/platform/kit/module.ts'
import { type Api, connect } from '../../../api/client.ts'
import { noSessions } from '../../../support/no-sessions.ts'
import { until } from '../../../support/until.ts'

const secret = 'the secret of a small edge, of enough length'
const tokens = systemTokens(secret)
const never = async () => {
  throw new Error('The module runs elsewhere.')
}
const manifest = defineModule(defineContract('posts', { routes: ['/api/posts'] }), { plugin: never })

/** An edge before one module, with its own hooks and nothing that it could wait for; see {@link startEdge}. */
export interface Edge {
  api: Api
  url: string
  balancer: Balancer
}

/** Chance would make tests say something else each time: this one asks in the order of the list. */
class InOrder extends Balancer {
  override pick(module: string, tried: readonly Instance[] = []): Instance {
    const chosen = this.another(module, tried) ?? this.another(module)
    if (!chosen) throw new Unavailable(module)
    return chosen
  }

  override another(module: string, tried: readonly Instance[] = []): Instance | undefined {
    return this.instancesOf(module).find((instance) => instance.breaker.mayAsk() && !tried.includes(instance))
  }
}

export interface EdgeOptions {
  /** Whether instances are asked in the order of the list (default), or as the balancer chooses. */
  inOrder?: boolean
  /** Whether a request may be sent once more. */
  take?: () => boolean
}

/** Starts an edge before instances of `posts`. When the test ends, none of them may be left with a request under way. */
export async function startEdge(t: Test, urls: readonly string[], options: EdgeOptions = {}): Promise<Edge> {
  const { inOrder = true, take = () => true } = options
  const log = pino({ level: 'silent' })
  const server = createServer({ log, trustProxy: [] })
  authenticate(server, { edge: true, tokens, sessions: sessionsIn(noSessions, { secret, tokens, log }) })
  refuseCredentials(server)
  const balancer = new (inOrder ? InOrder : Balancer)(staticDiscovery(new Map([['posts', urls]])))
  await proxyModules(server, [manifest], { balancer, tokens, budgetOf: () => ({ asked() {}, take }) })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    await until('no request is under way', () => balancer.instancesOf('posts').every(({ inFlight }) => inFlight === 0))
    await server.close()
  })
  return { api: connect(t, { url, secret, smtp: undefined as never }), url, balancer }
}

/** Headers of a request that another edge has accepted, which waits no longer than this. */
export const within = (milliseconds: number): Record<string, string> => ({
  [IDENTITY_HEADER]: tokens.identity.sign('posts', { identity: null }),
  [TIMEOUT_HEADER]: String(milliseconds),
})
