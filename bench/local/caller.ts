import { createRequire } from 'node:module'
import pino from 'pino'
import { Registry } from 'prom-client'
import { RequestContext } from '../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../src/platform/host/rpc/client.ts'
import { Procedures } from '../../src/platform/host/rpc/procedures.ts'
import { serve } from '../lib/children.ts'
import { type Drive, type DriveResult, drive } from '../lib/drive.ts'
import { example, getUser, INPUT } from '../lib/example.ts'

type Driver = (how: Drive) => Promise<DriveResult>

const callers: Record<string, () => Promise<Driver> | Driver> = {
  plain: () => (how) => drive(() => getUser(INPUT), how),

  seam() {
    const procedures = new Procedures({ strict: false, log: pino({ level: 'silent' }) })
    procedures.implement(example, { getUser: (input) => getUser(input as typeof INPUT) })
    const statistics = new CallStatistics(new Registry())
    const client = createClient(example, { caller: 'bench', adapter: procedures, strict: false, statistics })
    return async (how) => {
      const context = new RequestContext()
      try {
        return await context.run(() => drive(() => client.getUser(INPUT), how))
      } finally {
        context.end()
      }
    }
  },

  'seam, a new request for each call'() {
    const procedures = new Procedures({ strict: false, log: pino({ level: 'silent' }) })
    procedures.implement(example, { getUser: (input) => getUser(input as typeof INPUT) })
    const statistics = new CallStatistics(new Registry())
    const client = createClient(example, { caller: 'bench', adapter: procedures, strict: false, statistics })
    const request = async () => {
      const context = new RequestContext({ requestId: 'bench' })
      try {
        return await context.run(() => client.getUser(INPUT))
      } finally {
        context.end()
      }
    }
    return (how) => drive(request, how)
  },

  moleculer: () => moleculer({}),
  'moleculer, with metrics': () => moleculer({ metrics: true }),
}

interface Broker {
  createService(service: object): void
  start(): Promise<void>
  call(action: string, params: object): Promise<unknown>
}

async function moleculer(options: object): Promise<Driver> {
  // By require(), for its types are only there once the benchmark's own dependencies are.
  const { ServiceBroker } = createRequire(import.meta.url)('moleculer') as { ServiceBroker: new (o: object) => Broker }
  const broker = new ServiceBroker({ logger: false, ...options })
  broker.createService({
    name: 'example',
    actions: {
      getUser: {
        params: { id: 'uuid' },
        handler: ({ params }: { params: { id: string } }) => getUser(params),
      },
    },
  })
  await broker.start()
  return (how) => drive(() => broker.call('example.getUser', INPUT), how)
}

await serve<{ name: string }>(async ({ name }) => ({ answer: await callers[name]!() }))
