import { Registry } from 'prom-client'
import { Pool } from 'undici'
import { Instance } from '../../src/platform/host/balancing/instance.ts'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { RequestContext } from '../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../src/platform/host/rpc/client.ts'
import { HttpTransport } from '../../src/platform/host/rpc/http/transport.ts'
import { RemoteAdapter } from '../../src/platform/host/rpc/remote-adapter.ts'
import type { Adapter } from '../../src/platform/host/rpc/target.ts'
import { remoteTo } from '../../test/platform/host/rpc/remote.ts'
import { serve } from '../lib/children.ts'
import { type Drive, type DriveResult, drive } from '../lib/drive.ts'
import { example, INPUT } from '../lib/example.ts'
import { callerOf } from './grpc.ts'
import { broker } from './moleculer.ts'

interface Options {
  readonly name: keyof typeof callers
  readonly url: string
  readonly secret: string
  readonly connections: number
  /** Of Moleculer's nodes. */
  readonly port: number
  readonly callersPort: number
}

type Driver = (how: Drive) => Promise<DriveResult>

const withPolicies = ({ url, secret }: Options) => remoteTo('example', [url], { tokens: systemTokens(secret) }).adapter

const callers = {
  bare({ url, connections }: Options): Driver {
    const pool = new Pool(url, { connections, pipelining: 1 })
    const headers = { 'content-type': 'application/json' }
    const call = async () => {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: '/getUser',
        headers,
        body: JSON.stringify(INPUT),
      })
      const answer = await body.json()
      if (statusCode !== 200) throw new Error(`The bare server answers ${statusCode}.`)
      return answer
    }
    return (how) => drive(call, how)
  },

  seam: (options: Options) => seam(withPolicies(options)),

  'seam, for a user': (options: Options) => seam(withPolicies(options), true),

  'seam, without policies'({ url, secret }: Options): Driver {
    const transport = new HttpTransport({ tokens: systemTokens(secret) })
    const instance = new Instance({ origin: url, weight: 1, priority: 0 })
    return seam(new RemoteAdapter({ dispatch: (call) => transport.send(instance, call), strict: false }))
  },

  async 'moleculer, TCP'({ port, callersPort }: Options): Promise<Driver> {
    const node = broker({ nodeID: 'caller', port: callersPort }, [{ nodeID: 'server', port }])
    await node.start()
    await node.waitForServices('example', 10_000)
    return (how) => drive(() => node.call('example.getUser', INPUT), how)
  },

  'grpc-js, unary'({ url }: Options): Driver {
    const call = callerOf(url)
    return (how) => drive(() => call(INPUT), how)
  },
}

function seam(adapter: Adapter, forUser = false): Driver {
  const statistics = new CallStatistics(new Registry())
  const { getUser } = createClient(example, { caller: 'bench', adapter, strict: false, statistics })
  return async (how) => {
    const context = new RequestContext({ timeout: how.milliseconds + 5000 })
    if (forUser) context.identity = { userId: INPUT.id, roles: ['member'], sessionId: INPUT.id }
    try {
      return await context.run(() => drive(() => getUser(INPUT), how))
    } finally {
      context.end()
    }
  }
}

await serve<Options>(async (options) => ({ answer: await callers[options.name](options) }))
