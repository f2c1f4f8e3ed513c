import { Agent } from 'undici'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { RemoteCall, Transport } from '../remote-call.ts'
import { Lane } from './lane.ts'

/**
 * Calls by HTTP. Those that one process makes to one instance in the same turn of the event loop share a request: under load
 * that is several times as fast as a request for each. Every call keeps its own deadline, identity, trace and error, and is
 * answered as soon as the far side has its answer.
 */
export class HttpTransport implements Transport {
  readonly #agent = new Agent({
    // As many as are needed: a slow call keeps its request's connection, and must not keep the others waiting. The limit of calls
    // that are under way to one module (policies/limit.ts) bounds them.
    pipelining: 1,
    keepAliveTimeout: 4_000,
    // Servers say for how long they keep a connection (75 s), and undici would believe them instead.
    keepAliveMaxTimeout: 4_000,
    connectTimeout: 2_000,
    // Deadlines are those of the calls.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  readonly #tokens: SystemTokens
  readonly #lanes = new WeakMap<Instance, Map<string, Lane>>()

  constructor(options: { tokens: SystemTokens }) {
    this.#tokens = options.tokens
  }

  send(instance: Instance, call: RemoteCall): Promise<unknown> {
    return this.#laneTo(instance, call.contract.name, call.caller).send(call)
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  #laneTo(instance: Instance, module: string, caller: string): Lane {
    let lanes = this.#lanes.get(instance)
    if (!lanes) this.#lanes.set(instance, (lanes = new Map()))
    const key = `${module} ${caller}`
    let lane = lanes.get(key)
    if (!lane) {
      lane = new Lane({ instance, module, caller, agent: this.#agent, tokens: this.#tokens })
      lanes.set(key, lane)
    }
    return lane
  }
}
