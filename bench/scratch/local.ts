import pino from 'pino'
import { Registry } from 'prom-client'
import { createRequire } from 'node:module'
import { RequestContext } from '../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../src/platform/host/rpc/client.ts'
import { Procedures } from '../../src/platform/host/rpc/procedures.ts'
import { example, getUser, INPUT } from '../local/example.ts'
const which = process.argv[2]
let call: (i: { id: string }) => Promise<unknown>
let wrap = <T>(f: () => T) => f()
if (which === 'plain') call = getUser
else if (which === 'moleculer') {
  const { ServiceBroker } = createRequire(import.meta.url)('moleculer')
  const broker = new ServiceBroker({ logger: false, validator: true })
  broker.createService({ name: 'example', actions: { getUser: { params: { id: { type: 'string', max: 64 } }, handler: (ctx: any) => getUser(ctx.params) } } })
  await broker.start()
  call = (i) => broker.call('example.getUser', i)
} else {
  const procedures = new Procedures({ strict: false, log: pino({ level: 'silent' }) })
  procedures.implement(example, { getUser: getUser as never })
  const client = createClient(example, { caller: 'bench', adapter: procedures, strict: false, statistics: new CallStatistics(new Registry()) })
  call = client.getUser
  wrap = (f) => new RequestContext().run(f)
}
const N = 300_000
const seq = async () => { for (let i = 0; i < N; i++) await call(INPUT) }
const bat = async () => { for (let i = 0; i < N; i += 64) { const a = []; for (let j = 0; j < 64; j++) a.push(call(INPUT)); await Promise.all(a) } }
for (const [n, f] of [['seq', seq], ['batch', bat]] as const) {
  const all = []
  for (let r = 0; r < 9; r++) { const a = performance.now(); await wrap(f); all.push((performance.now() - a) * 1e6 / N) }
  console.log(which, n, all.sort((a, b) => a - b)[4]!.toFixed(0), 'min', all[0]!.toFixed(0))
}
process.exit()
