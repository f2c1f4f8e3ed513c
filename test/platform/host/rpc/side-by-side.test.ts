// Two releases at the same time call each other both ways, as while a release is rolled out.
import pino from 'pino'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { CallStatistics } from '../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../src/platform/host/rpc/client.ts'
import { GRPC_OFFSET } from '../../../../src/platform/host/rpc/grpc/address.ts'
import { GrpcServer } from '../../../../src/platform/host/rpc/grpc/server.ts'
import { serveProcedures } from '../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../src/platform/host/rpc/procedures.ts'
import { type Contract, command, defineContract, query } from '../../../../src/platform/kit/contract.ts'
import { BadInput, Unavailable, UnknownProcedure } from '../../../../src/platform/kit/errors.ts'
import { freePorts } from '../../../support/ports.ts'
import { remoteTo } from './remote.ts'

const tokens = systemTokens('a secret that only these tests know, of enough length')
const log = pino({ level: 'silent' })
// Deadlines and pauses keep no process alive; a listening server does in a real one.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

const Closed = { status: 409, message: 'Closed.' }
const previous = defineContract('shop', {
  errors: { Closed },
  procedures: {
    price: query({
      input: Type.Object({ id: Type.String() }),
      output: Type.Object({ cents: Type.Integer() }),
      throws: ['Closed'],
    }),
  },
})
const next = defineContract('shop', {
  errors: { Closed, SoldOut: { status: 410, message: 'Sold out.' } },
  procedures: {
    price: query({
      input: Type.Object({ id: Type.String(), currency: Type.Optional(Type.String()) }),
      output: Type.Object({ cents: Type.Integer(), currency: Type.String() }),
      throws: ['Closed', 'SoldOut'],
    }),
    stock: query({ input: Type.Object({ id: Type.String() }), output: Type.Object({ pieces: Type.Integer() }) }),
    buy: command({ input: Type.Object({ id: Type.String() }), output: Type.Object({ order: Type.String() }) }),
  },
})

/** How often instances were asked for a price. */
let prices = 0
const price = ({ id }: { id: string }, contract: typeof previous | typeof next) => {
  prices++
  if (id === 'closed') throw new contract.errors.Closed()
  if (id === 'sold out' && contract === next) throw new next.errors.SoldOut()
}
const implementations = {
  previous: {
    price(input: { id: string }) {
      price(input, previous)
      return { cents: 1 }
    },
  },
  next: {
    price({ id, currency = 'EUR' }: { id: string; currency?: string }) {
      price({ id }, next)
      return { cents: 2, currency }
    },
    stock: () => ({ pieces: 3 }),
    buy: () => ({ order: 'o-1' }),
  },
}
const contracts = { previous, next }
type Release = keyof typeof contracts

function proceduresOf(release: Release): Procedures {
  const procedures = new Procedures({ strict: true, log })
  procedures.implement(
    contracts[release],
    implementations[release] as unknown as Parameters<Procedures['implement']>[1],
  )
  return procedures
}

const carriers = {
  /** Instances of these releases, on addresses of their own. */
  async http(t: Test, releases: readonly Release[]) {
    const urls: string[] = []
    for (const release of releases) {
      const server = createServer({ log, trustProxy: true })
      t.teardown(() => server.close())
      const procedures = proceduresOf(release)
      const offer = { contract: contracts[release], mayCall: () => true }
      serveProcedures(server, 'shop', [offer], { procedures, tokens })
      urls.push(await server.listen({ host: '127.0.0.1', port: 0 }))
    }
    return urls
  },
  async grpc(t: Test, releases: readonly Release[]) {
    const ports = await freePorts(releases.length, GRPC_OFFSET)
    for (const [n, release] of releases.entries()) {
      const server = new GrpcServer({ procedures: proceduresOf(release), tokens })
      t.teardown(() => server.close(100))
      server.serve({ contract: contracts[release], mayCall: () => true })
      await server.listen('127.0.0.1', ports[n]! + GRPC_OFFSET)
    }
    return ports.map((port) => `http://127.0.0.1:${port}`)
  },
}

for (const rpc of ['http', 'grpc'] as const) {
  const start = async (t: Test, ...releases: Release[]) => {
    const { adapter, balancer, close } = remoteTo('shop', await carriers[rpc](t, releases), { tokens, rpc })
    t.teardown(close)
    const own = { caller: 'till', adapter, strict: false }
    const clientOf = <C extends Contract>(contract: C) =>
      createClient(contract, { ...own, statistics: new CallStatistics(new Registry()) })
    return { clientOf, instances: () => balancer.instancesOf('shop') }
  }
  const errorOf = (call: Promise<unknown>) =>
    call.then(
      () => t.fail('it was answered'),
      (error) => error,
    )

  t.test(`${rpc}: a caller of the previous release, a callee of the next`, async (t) => {
    const { clientOf, instances } = await start(t, 'next')
    const client = clientOf(previous)
    t.strictSame(await client.price({ id: '1' }), { cents: 2 }, 'without what it does not know')
    t.type(await errorOf(client.price({ id: 'closed' })), previous.errors.Closed)
    const before = prices
    for (let n = 0; n < 20; n++) {
      const error = await errorOf(client.price({ id: 'sold out' }))
      t.equal(error.constructor, Unavailable, 'an error that it cannot know')
      t.match(error.cause.message, 'SoldOut: Sold out.')
    }
    t.equal(prices - before, 20, 'each is asked once')
    t.equal(instances()[0]!.breaker.state, 'closed', 'and nothing is held against the instance')
    t.strictSame(await client.price({ id: '1' }), { cents: 2 })
  })

  t.test(`${rpc}: a caller of the next release, a callee of the previous`, async (t) => {
    const { clientOf, instances } = await start(t, 'previous')
    const client = clientOf(next)
    const lacking = await errorOf(client.price({ id: '1' }))
    t.equal(lacking.code, 'CallFailed', 'an answer without what was promised meanwhile')
    t.type(await errorOf(client.price({ id: 'closed' })), next.errors.Closed)
    t.type(await errorOf(client.price({ id: '1', currency: 'CHF' })), BadInput, 'what it does not know may matter')
    for (let n = 0; n < 20; n++)
      for (const call of [client.stock, client.buy]) {
        const error = await errorOf(call({ id: '1' }))
        t.equal(error.constructor, UnknownProcedure)
        t.match(error, { code: 'UnknownProcedure', module: 'shop', status: 503, message: /"(stock|buy)"/ })
      }
    t.equal(instances()[0]!.breaker.state, 'closed')
    t.type(await errorOf(client.price({ id: 'closed' })), next.errors.Closed, 'the rest goes on')
  })

  t.test(`${rpc}: of instances of both releases, one that knows the procedure answers`, async (t) => {
    const { clientOf } = await start(t, 'previous', 'next', 'previous')
    const client = clientOf(next)
    for (let n = 0; n < 20; n++) {
      t.strictSame(await client.stock({ id: '1' }), { pieces: 3 })
      t.strictSame(await client.buy({ id: '1' }), { order: 'o-1' }, 'also for a command: nothing was done before')
    }
  })
}
