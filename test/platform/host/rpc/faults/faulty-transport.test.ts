// What faults do to calls that travel, and what the policies above make of them.
import pino from 'pino'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { createServer } from '../../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../../src/platform/host/identity/tokens.ts'
import { CallStatistics } from '../../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../../src/platform/host/rpc/client.ts'
import { GrpcServer } from '../../../../../src/platform/host/rpc/grpc/server.ts'
import { serveProcedures } from '../../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { command, defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import { CallFailed, DeadlineExceeded, SeamError, Unavailable } from '../../../../../src/platform/kit/errors.ts'
import { until } from '../../../../support/until.ts'
import { remoteTo } from '../remote.ts'

const tokens = systemTokens('a secret that only these tests know, of enough length')
const log = pino({ level: 'silent' })

const bell = defineContract('bell', {
  errors: { Cracked: { status: 409, message: 'It is cracked.' } },
  procedures: {
    look: query({ input: Type.Object({}), output: Type.Object({ rings: Type.Integer(), place: Type.String() }) }),
    ring: command({ input: Type.Object({}), output: Type.Object({ rings: Type.Integer() }), throws: ['Cracked'] }),
    crack: command({ input: Type.Object({}), output: Type.Null(), throws: ['Cracked'] }),
  },
})

// Deadlines keep no process alive; a listening server does in a real one.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

for (const rpc of ['http', 'grpc']) {
  /** A bell in another process, as far as calls can tell, and a client whose calls go wrong. */
  const open = async (t: Test, faults?: string) => {
    const seen = { looks: 0, rings: 0, cracks: 0 }
    const procedures = new Procedures({ strict: true, log })
    procedures.implement(bell, {
      look: () => ({ rings: ++seen.looks, place: 'tower' }),
      ring: () => ({ rings: ++seen.rings }),
      crack: () => {
        seen.cracks++
        throw new bell.errors.Cracked()
      },
    })
    const offer = { contract: bell, mayCall: () => true }
    const http = createServer({ log, trustProxy: true })
    serveProcedures(http, bell.name, [offer], { procedures, tokens })
    const grpc = new GrpcServer({ procedures, tokens })
    grpc.serve(offer)
    const url = await http.listen({ host: '127.0.0.1', port: 0 })
    const rpcPort = await grpc.listen('127.0.0.1', 0)
    const { adapter, balancer, close } = remoteTo(bell.name, [url], {
      tokens,
      faults,
      ...(rpc === 'grpc' && { rpcPort }),
    })
    t.teardown(async () => {
      await close()
      await Promise.all([http.close(), grpc.close(100)])
    })
    const statistics = new CallStatistics(new Registry())
    return { seen, balancer, client: createClient(bell, { caller: 'caller', adapter, strict: true, statistics }) }
  }

  t.test(`${rpc}: a dropped call and an error of the instance are no answer, and nothing was done`, async (t) => {
    for (const faults of ['bell.ring:drop', 'bell.ring:error']) {
      const { client, seen } = await open(t, faults)
      await t.rejects(client.ring({}), Unavailable)
      t.equal(seen.rings, 0)
      t.strictSame(await client.look({}), { rings: 1, place: 'tower' }, 'other procedures are as they were')
    }
  })

  t.test(`${rpc}: when the answer is dropped the work was done, and its caller does not know`, async (t) => {
    const { client, seen } = await open(t, '*:drop-answer')
    await t.rejects(client.ring({}), Unavailable)
    t.equal(seen.rings, 1)
    await t.rejects(client.crack({}), Unavailable, 'an error is an answer, too')
    t.equal(seen.cracks, 1)
  })

  t.test(`${rpc}: what is sent twice is done twice, and its first answer counts`, async (t) => {
    const { client, seen } = await open(t, 'bell:duplicate')
    t.match(await client.ring({}), { rings: /^[12]$/ })
    await until('it has rung twice', () => seen.rings === 2)
    await t.rejects(client.crack({}), bell.errors.Cracked)
    await until('both have come', () => seen.cracks === 2)
  })

  t.test(`${rpc}: an answer of which something is missing is none`, async (t) => {
    const { client, seen } = await open(t, 'bell:partial')
    await t.rejects(client.look({}), CallFailed)
    await t.rejects(client.ring({}), CallFailed)
    t.strictSame([seen.looks, seen.rings], [1, 1], 'nor is it asked for again')
    await t.rejects(client.crack({}), bell.errors.Cracked, 'an error arrives whole')
  })

  t.test(`${rpc}: a delayed call arrives later, or not before its deadline, and then not at all`, async (t) => {
    const { client, seen } = await open(t, '*:delay=80')
    const began = performance.now()
    await client.ring({})
    t.ok(performance.now() - began >= 79)
    await t.rejects(client.ring({}, { timeout: 20 }), DeadlineExceeded)
    await client.ring({})
    t.equal(seen.rings, 2, 'the one that was given up was never sent')
  })

  t.test(`${rpc}: commands with a key are sent again after a fault, those without are not`, async (t) => {
    const outcomes = async (idempotencyKey?: string) => {
      const { client, seen } = await open(t, '*:error@0.15')
      const codes: string[] = []
      for (let n = 0; n < 10; n++) {
        const call = client.ring({}, idempotencyKey ? { idempotencyKey } : {})
        codes.push(
          await call.then(
            () => 'answered',
            (error) => (error instanceof SeamError ? error.code : 'untyped'),
          ),
        )
      }
      return { codes: codes.sort(), rings: seen.rings }
    }
    // The seed is the same, so some of these ten go wrong each time.
    const { codes, rings } = await outcomes()
    t.strictSame(new Set(codes), new Set(['Unavailable', 'answered']))
    t.equal(rings, codes.filter((code) => code === 'answered').length)
    t.strictSame(await outcomes('key'), { codes: Array(10).fill('answered'), rings: 10 })
  })

  t.test(`${rpc}: a breaker opens as it does when an instance is down`, async (t) => {
    const { client, seen, balancer } = await open(t, '*:error')
    for (let n = 0; n < 5; n++) await t.rejects(client.ring({}), Unavailable)
    t.throws(() => balancer.pick(bell.name, []), Unavailable)
    t.equal(seen.rings, 0)
  })

  t.test(`${rpc}: without rules nothing goes wrong`, async (t) => {
    const { client, seen } = await open(t)
    for (let n = 0; n < 20; n++) await client.ring({})
    t.equal(seen.rings, 20)
  })
}
