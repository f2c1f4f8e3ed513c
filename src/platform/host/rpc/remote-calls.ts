import type { Balancer } from '../balancing/balancer.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import { FaultyTransport } from './faults/faulty-transport.ts'
import type { FaultPlan } from './faults/plan.ts'
import { limitsWithin } from './policies/limit.ts'
import type { RetryBudgets } from './policies/retry-budget.ts'
import { RemoteAdapter } from './remote-adapter.ts'
import { stack } from './stack.ts'

interface Options {
  readonly rpc: 'http' | 'grpc'
  /** `RPC_PORT`: where the others serve gRPC, if it is not a port that follows from the one for HTTP. */
  readonly rpcPort: number | undefined
  /** `BUSY_LIMIT`: half of it may wait for one module. */
  readonly busyLimit: number
  readonly balancer: Balancer
  readonly budgets: RetryBudgets
  readonly tokens: SystemTokens
  readonly strict: boolean
  readonly faults: FaultPlan | undefined
}

/** Everything between a caller here and modules that run elsewhere: the policies, and the network that they stand before. */
export async function remoteCalls({ rpc, rpcPort, busyLimit, balancer, budgets, tokens, strict, faults }: Options) {
  const network =
    rpc === 'grpc'
      ? new (await import('./grpc/transport.ts')).GrpcTransport({ tokens, rpcPort })
      : new (await import('./http/transport.ts')).HttpTransport({ tokens })
  const transport = faults ? new FaultyTransport(network, faults) : network
  const dispatch = stack({ transport, limits: limitsWithin(busyLimit), balancer, budgets })
  return { adapter: new RemoteAdapter({ dispatch, strict }), close: () => transport.close() }
}
