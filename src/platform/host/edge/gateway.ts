import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Agent } from 'undici'
import type { Manifest } from '../../kit/module.ts'
import type { Balancer } from '../balancing/balancer.ts'
import { METHODS } from '../http/methods.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import { Hop, type Way } from './hop.ts'
import { receiveUpload } from './upload.ts'

/** To one instance of a module, at most. A stream of events has one to itself as long as it lasts, so they must be many. */
const CONNECTIONS = 4_096

/**
 * Passes the REST prefixes of modules that run elsewhere on to their instances, with the caller's identity signed. An
 * instance that cannot be reached or does not answer in time becomes a 503 that names the module.
 *
 * @param options.budgetOf how often requests to a module may be sent once more
 */
export async function proxyModules(
  server: FastifyInstance,
  manifests: readonly Manifest[],
  options: { balancer: Balancer; tokens: SystemTokens; budgetOf: (module: string) => Way['budget'] },
): Promise<void> {
  const { balancer, tokens, budgetOf } = options
  const dispatcher = new Agent({
    connections: CONNECTIONS,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: 4_000,
    // Servers say for how long they keep a connection (75 s), and undici would believe them instead.
    keepAliveMaxTimeout: 4_000,
    connect: { timeout: 2_000 },
    // The deadline of each request is shorter.
    headersTimeout: 0,
    bodyTimeout: 60_000,
  })
  server.addHook('onClose', () => dispatcher.destroy())
  await server.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', receiveUpload(server.initialConfig.bodyLimit!))
    for (const { contract, signsIn } of manifests) {
      const way: Way = {
        module: contract.name,
        signsIn: signsIn === true,
        balancer,
        tokens,
        dispatcher,
        budget: budgetOf(contract.name),
      }
      const handler = (request: FastifyRequest, reply: FastifyReply) => new Hop(way, request, reply).begin()
      for (const url of contract.routes.flatMap((prefix) => [prefix, `${prefix}/*`]))
        scope.route({ method: METHODS, url, config: { module: contract.name }, handler })
    }
  })
}
