import type { FastifyInstance, RouteOptions } from 'fastify'
import type { Manifest, ModuleApp, ModuleServices } from '../kit/module.ts'
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

function faultsOfRoute({ method, url, config }: RouteOptions, prefixes: readonly string[]): string[] {
  const inside = prefixes.some((prefix) => url === prefix || url.startsWith(`${prefix}/`))
  return [
    ...(inside ? [] : [`${method} ${url} is outside of its prefixes (${prefixes.join(', ') || 'none'}).`]),
    ...(config?.allow ? [] : [`${method} ${url} does not say who may use it (config.allow).`]),
  ]
}
