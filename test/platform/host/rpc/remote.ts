import { Balancer } from '../../../../src/platform/host/balancing/balancer.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'
import type { SystemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { FaultyTransport } from '../../../../src/platform/host/rpc/faults/faulty-transport.ts'
import { FaultPlan } from '../../../../src/platform/host/rpc/faults/plan.ts'
import { readRules } from '../../../../src/platform/host/rpc/faults/rules.ts'
import { GrpcTransport } from '../../../../src/platform/host/rpc/grpc/transport.ts'
import { HttpTransport } from '../../../../src/platform/host/rpc/http/transport.ts'
import { RetryBudgets } from '../../../../src/platform/host/rpc/policies/retry-budget.ts'
import { RemoteAdapter } from '../../../../src/platform/host/rpc/remote-adapter.ts'
import { stack } from '../../../../src/platform/host/rpc/stack.ts'

/**
 * Calls to one module at these addresses, with all that an application puts around them.
 *
 * @param options.faults as in `FAULTS`
 * @param options.rpc calls go by gRPC, to the port that follows from each address
 * @param options.rpcPort calls go by gRPC, to this port of each address
 */
export function remoteTo(
  module: string,
  urls: readonly string[],
  options: {
    tokens: SystemTokens
    strict?: boolean
    rpc?: 'http' | 'grpc'
    rpcPort?: number
    faults?: string | undefined
  },
) {
  const { tokens, strict, rpcPort, rpc = rpcPort === undefined ? 'http' : 'grpc' } = options
  const network = rpc === 'http' ? new HttpTransport({ tokens }) : new GrpcTransport({ tokens, rpcPort })
  const plan = options.faults && new FaultPlan({ rules: readRules(options.faults), seed: 1 })
  const transport = plan ? new FaultyTransport(network, plan) : network
  const balancer = new Balancer(staticDiscovery(new Map([[module, urls]])))
  const adapter = new RemoteAdapter({
    dispatch: stack({ transport, balancer, budgets: new RetryBudgets() }),
    strict: strict ?? false,
  })
  return { adapter, balancer, close: () => transport.close() }
}
