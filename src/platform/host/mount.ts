import type { FastifyInstance, HTTPMethods, RouteOptions } from 'fastify'
import type { Contract } from '../kit/contract.ts'
import type { Manifest, ModuleApp, ModuleServices } from '../kit/module.ts'
import { notFound } from './http/problems.ts'
import type { Sessions } from './identity/sessions.ts'

/**
 * Builds a module on an instance of its own inside the server: loads its plugin and gives it its services. The same for
 * running a module and for describing it; only the services differ.
 *
 * @returns what is wrong with its routes: each must lie below the module's prefixes and say who may use it
 */
export async function mountModule(
  server: FastifyInstance,
  manifest: Manifest,
  options: { services: ModuleServices; sessions?: Sessions },
): Promise<string[]> {
  const { contract } = manifest
  const { default: plugin } = await manifest.plugin()
  const faults: string[] = []
  await server.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      faults.push(...faultsOfRoute(route, contract.routes).map((fault) => `"${contract.name}": ${fault}`))
      route.config = { ...route.config, module: contract.name }
    })
    for (const [name, service] of Object.entries(options.services)) scope.decorate(name, service)
    if (manifest.signsIn) await options.sessions?.register(scope)
    await plugin(scope as unknown as ModuleApp)
  })
  return faults
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * Claims all that lies below a module's prefixes for it: what none of its routes answers is not found there, after the
 * caller has been authenticated and limited as for any other route. A gateway does so too, since it does not know the
 * routes, so that the answer does not depend on where the module runs. Mount the module first.
 */
export function claimPrefixes(server: FastifyInstance, { name, routes }: Contract): void {
  for (const url of routes.flatMap((prefix) => [prefix, `${prefix}/*`])) {
    server.route({
      method: METHODS.filter((method) => !server.hasRoute({ method: method as HTTPMethods, url })),
      url,
      config: { allow: 'anyone', module: name },
      handler: notFound,
    })
  }
}

function faultsOfRoute({ method, url, config }: RouteOptions, prefixes: readonly string[]): string[] {
  const inside = prefixes.some((prefix) => url === prefix || url.startsWith(`${prefix}/`))
  return [
    ...(inside ? [] : [`${method} ${url} is outside of its prefixes (${prefixes.join(', ') || 'none'}).`]),
    ...(config?.allow ? [] : [`${method} ${url} does not say who may use it (config.allow).`]),
  ]
}
