import { Writable } from 'node:stream'
import pino from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { CallStatistics } from '../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../src/platform/host/rpc/client.ts'
import { GrpcServer } from '../../../../src/platform/host/rpc/grpc/server.ts'
import { serveProcedures } from '../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../src/platform/host/rpc/procedures.ts'
import type { Adapter } from '../../../../src/platform/host/rpc/target.ts'
import type { Client, Contract } from '../../../../src/platform/kit/contract.ts'
import { freePorts } from '../../../support/ports.ts'
import { type AdapterUnderTest, adapterSuite, type Served } from './adapter-suite.ts'
import { remoteTo } from './remote.ts'

const tokens = systemTokens('a secret that only these tests know, of enough length')

/** A log that can be read. */
function readableLog() {
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  return { log: pino({ level: 'error' }, stream), text: () => lines.join('') }
}

function served<C extends Contract>(contract: C, adapter: Adapter, strict: boolean, log: () => string): Served<C> {
  const registry = new Registry()
  const statistics = new CallStatistics(registry)
  return {
    client: createClient(contract, { caller: 'caller', adapter, strict, statistics }),
    log,
    async count(what, procedure) {
      const { values } = (await registry.getSingleMetric('seam_calls_total')!.get()) as {
        values: { value: number; labels: Record<string, string | number> }[]
      }
      return values
        .filter(({ labels }) => labels.procedure === procedure && (what === 'all' || labels.outcome !== 'ok'))
        .reduce((sum, { value }) => sum + value, 0)
    },
  }
}

function local(strict: boolean): AdapterUnderTest {
  return {
    name: 'local',
    strict,
    async serve(_t, contract, implementation) {
      const { log, text } = readableLog()
      const procedures = new Procedures({ strict, log })
      procedures.implement(contract, implementation as Parameters<Procedures['implement']>[1])
      return served(contract, procedures, strict, text)
    },
    unreachable: (_t, contract) =>
      served(contract, new Procedures({ strict, log: readableLog().log }), strict, () => '').client,
  }
}

const [deadPort] = await freePorts(1)

function http(strict: boolean): AdapterUnderTest {
  return {
    name: 'http',
    strict,
    async serve(t, contract, implementation) {
      const { log, text } = readableLog()
      const procedures = new Procedures({ strict, log })
      procedures.implement(contract, implementation as Parameters<Procedures['implement']>[1])
      const server = createServer({ log, trustProxy: true })
      serveProcedures(server, contract.name, [{ contract, mayCall: (caller) => caller === 'caller' }], {
        procedures,
        tokens,
      })
      const url = await server.listen({ host: '127.0.0.1', port: 0 })
      const { adapter, close } = remoteTo(contract.name, [url], { tokens, strict })
      t.teardown(async () => {
        await close()
        await server.close()
      })
      return served(contract, adapter, strict, text)
    },
    unreachable<C extends Contract>(t: Parameters<AdapterUnderTest['unreachable']>[0], contract: C): Client<C> {
      const { adapter, close } = remoteTo(contract.name, [`http://127.0.0.1:${deadPort}`], { tokens, strict })
      t.teardown(close)
      return served(contract, adapter, strict, () => '').client
    },
  }
}

function grpc(strict: boolean): AdapterUnderTest {
  const origin = 'http://127.0.0.1:1'
  return {
    name: 'grpc',
    strict,
    async serve(t, contract, implementation) {
      const { log, text } = readableLog()
      const procedures = new Procedures({ strict, log })
      procedures.implement(contract, implementation as Parameters<Procedures['implement']>[1])
      const server = new GrpcServer({ procedures, tokens })
      server.serve({ contract, mayCall: (caller) => caller === 'caller' })
      const rpcPort = await server.listen('127.0.0.1', 0)
      const { adapter, close } = remoteTo(contract.name, [origin], { tokens, strict, rpcPort })
      t.teardown(async () => {
        await close()
        await server.close(100)
      })
      return served(contract, adapter, strict, text)
    },
    unreachable<C extends Contract>(t: Parameters<AdapterUnderTest['unreachable']>[0], contract: C): Client<C> {
      const { adapter, close } = remoteTo(contract.name, [origin], { tokens, strict, rpcPort: deadPort! })
      t.teardown(close)
      return served(contract, adapter, strict, () => '').client
    },
  }
}

for (const strict of [true, false]) {
  adapterSuite(t, local(strict))
  adapterSuite(t, http(strict))
  adapterSuite(t, grpc(strict))
}
