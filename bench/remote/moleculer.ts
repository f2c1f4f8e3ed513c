import { createRequire } from 'node:module'
import { Server } from 'node:net'

/** As much of Moleculer's broker as is used here; its types are only there once the benchmark's own dependencies are. */
export interface Broker {
  readonly registry: { nodes: { localNode: { hostname: string } } }
  createService(service: object): void
  start(): Promise<void>
  waitForServices(name: string, timeout: number): Promise<unknown>
  call(action: string, params: object): Promise<unknown>
}

/** A node of Moleculer that knows one other node, over its TCP transporter. */
export function broker(
  own: { nodeID: string; port: number },
  others: readonly { nodeID: string; port: number }[],
): Broker {
  onLoopback()
  const { ServiceBroker } = createRequire(import.meta.url)('moleculer') as { ServiceBroker: new (o: object) => Broker }
  const urls = [own, ...others].map(({ nodeID, port }) => `127.0.0.1:${port}/${nodeID}`)
  const transporter = { type: 'TCP', options: { udpDiscovery: false, port: own.port, urls } }
  const made = new ServiceBroker({ logger: false, nodeID: own.nodeID, transporter })
  made.registry.nodes.localNode.hostname = '127.0.0.1'
  return made
}

/** Its transporter cannot be told where to listen, and the benchmark listens nowhere but on 127.0.0.1. */
function onLoopback(): void {
  const { listen } = Server.prototype
  Server.prototype.listen = function (this: Server, ...args: unknown[]) {
    const [options, ...rest] = args
    return Reflect.apply(listen, this, [{ ...(options as object), host: '127.0.0.1' }, ...rest])
  } as typeof listen
}
