import { Balancer } from '../../../../src/platform/host/balancing/balancer.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'
import type { SystemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { HttpTransport } from '../../../../src/platform/host/rpc/http/transport.ts'
import { RetryBudgets } from '../../../../src/platform/host/rpc/policies/retry-budget.ts'
import { RemoteAdapter } from '../../../../src/platform/host/rpc/remote-adapter.ts'
import { stack } from '../../../../src/platform/host/rpc/stack.ts'

/** Calls to one module at these addresses, with all that an application puts around them. */
export function remoteTo(module: string, urls: readonly string[], options: { tokens: SystemTokens; strict?: boolean }) {
  const transport = new HttpTransport({ tokens: options.tokens })
  const balancer = new Balancer(staticDiscovery(new Map([[module, urls]])))
  const adapter = new RemoteAdapter({
    dispatch: stack({ transport, balancer, budgets: new RetryBudgets() }),
    strict: options.strict ?? false,
  })
  return { adapter, balancer, close: () => transport.close() }
}
