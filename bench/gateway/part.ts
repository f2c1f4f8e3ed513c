import { startWorker } from '../lib/children.ts'
import type { Load, LoadResult } from '../lib/load.ts'
import { atLeast, headline, type Part, type Verdict } from '../lib/report.ts'
import { inTurns } from '../lib/rounds.ts'
import { printReads, speed } from '../read/part.ts'
import { startNginx } from './nginx.ts'

const CONNECTIONS = 64

export const gatewayHops: Part = async ({ quick, rounds = quick ? 5 : 9 }) => {
  headline(
    'The gateway hop',
    `GET of 600 bytes through one process to the same bare node:http server; ${CONNECTIONS} connections. The edge authenticates, counts, signs and balances, the others only pass on; all get the same bearer token.`,
  )
  const server = await startWorker('gateway/server.ts')
  const port = server.ready.port as number
  const upstream = `http://127.0.0.1:${port}`
  const edge = await startWorker('gateway/seam.ts', { upstream })
  const plain = await startWorker('gateway/http-proxy.ts', { upstream, connections: CONNECTIONS })
  const floor = await startWorker('gateway/floor.ts', { upstream, connections: CONNECTIONS })
  const nginx = await startNginx({ upstream: port, connections: CONNECTIONS })
  const path = '/api/posts/1'
  const headers = { authorization: `Bearer ${edge.ready.token}` }
  const user = await startWorker('lib/load.ts', { requests: [{ path, headers }] })
  const nobody = await startWorker('lib/load.ts', { requests: [{ path }] })

  const contender = (name: string, generator: typeof user, port: number) => {
    const load: Load = { port, connections: CONNECTIONS, milliseconds: quick ? 1500 : 4000 }
    return { name, measure: () => generator.ask<LoadResult>(load) }
  }
  const series = await inTurns(
    [
      contender('@fastify/http-proxy as it comes', user, plain.ready.port as number),
      contender('Seam, a signed-in user', user, edge.ready.port as number),
      contender('Seam, nobody in particular', nobody, edge.ready.port as number),
      contender('node:http and undici alone', user, floor.ready.port as number),
      ...(typeof nginx === 'string' ? [] : [contender('nginx, proxy_pass', user, nginx.port)]),
      contender('no hop at all', user, port),
    ],
    { warmUps: 2, rounds },
  )
  await Promise.all([server, edge, plain, floor, user, nobody].map((each) => each.end()))
  if (typeof nginx !== 'string') await nginx.end()

  printReads(series)
  const [proxy, seam] = series as [(typeof series)[0], (typeof series)[0]]
  const verdicts: Verdict[] = [atLeast('A hop, against @fastify/http-proxy', 1.2, speed(seam, proxy))]
  const beside = series.find(({ name }) => name.startsWith('nginx'))
  if (beside) verdicts.push(atLeast('A hop, against nginx', 0.55, speed(seam, beside)))
  else console.log(`  Not compared with nginx. ${nginx}`)
  return verdicts
}
