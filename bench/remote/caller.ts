import { Registry } from 'prom-client'
import { Pool } from 'undici'
import { systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { RequestContext } from '../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../src/platform/host/rpc/client.ts'
import { remoteTo } from '../../test/platform/host/rpc/remote.ts'
import { serve } from '../lib/children.ts'
import { type Drive, drive } from '../lib/drive.ts'
import { example, INPUT } from '../lib/example.ts'

interface Options {
  readonly name: 'seam' | 'seam, for a user' | 'bare'
  readonly url: string
  readonly secret: string
  readonly connections: number
}

await serve<Options>(async (options) => ({ answer: options.name === 'bare' ? bare(options) : seam(options) }))

function seam({ name, url, secret }: Options) {
  const { adapter } = remoteTo('example', [url], { tokens: systemTokens(secret) })
  const statistics = new CallStatistics(new Registry())
  const { getUser } = createClient(example, { caller: 'bench', adapter, strict: false, statistics })
  return async (how: Drive) => {
    const context = new RequestContext({ timeout: how.milliseconds + 5000 })
    if (name === 'seam, for a user') context.identity = { userId: INPUT.id, roles: ['member'], sessionId: INPUT.id }
    try {
      return await context.run(() => drive(() => getUser(INPUT), how))
    } finally {
      context.end()
    }
  }
}

function bare({ url, connections }: Options) {
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
  return (how: Drive) => drive(call, how)
}
