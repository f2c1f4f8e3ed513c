import type { FastifyInstance, RouteOptions } from 'fastify'
import type { Contract } from '../kit/contract.ts'
import type { Manifest, ModuleApp, ModuleServices } from '../kit/module.ts'
import type { Replica } from './data/replica.ts'
import { answerOtherMethods, METHODS, methodsOf } from './http/methods.ts'
import { notFound } from './http/problems.ts'
import type { Sessions } from './identity/sessions.ts'
import { readFromReplica } from './read-from-replica.ts'

/** A module's routes, as it declared them. */
export interface Mounted {
  readonly routes: readonly RouteOptions[]
  /** What is wrong with them: each must lie below the module's prefixes and say who may use it. */
  readonly faults: readonly string[]
}

/**
 * Builds a module on an instance of its own inside the server: loads its plugin and gives it its services. The same for
 * running a module and for describing it; only the services differ.
 */
export async function mountModule(
  server: FastifyInstance,
  manifest: Manifest,
  options: { services: ModuleServices; sessions?: Sessions; replica?: Replica | undefined },
): Promise<Mounted> {
  const { contract } = manifest
  const { default: plugin } = await manifest.plugin()
  const routes: RouteOptions[] = []
  await server.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      routes.push(route)
      route.config = { ...route.config, module: contract.name }
      if (typeof route.config.allow === 'object' && 'owner' in route.config.allow) route.onSend = asked(route)
    })
    if (options.replica) readFromReplica(scope, options.replica)
    for (const [name, service] of Object.entries(options.services)) scope.decorate(name, service)
    if (manifest.signsIn) await options.sessions?.register(scope)
    await plugin(scope as unknown as ModuleApp)
  })
  const faults = routes.flatMap((route) =>
    faultsOfRoute(route, contract.routes).map((fault) => `"${contract.name}": ${fault}`),
  )
  return { routes, faults }
}

/**
 * Claims all that lies below a module's prefixes for it: what none of its routes answers is not found there, or refused
 * because of its method, after the caller has been authenticated and limited as for any other route. A gateway does so too,
 * since it does not know the routes, so that the answer does not depend on where the module runs.
 */
export function claimPrefixes(server: FastifyInstance, contract: Contract, routes: readonly RouteOptions[]): void {
  const config = { allow: 'anyone', module: contract.name } as const
  // `/:id` and `/:name` are the same address.
  const known = Map.groupBy(routes, ({ url }) => url.replace(/:\w+/g, ':'))
  for (const answered of known.values())
    answerOtherMethods(server, answered[0]!.url, answered.flatMap(methodsOf), config)
  for (const url of contract.routes.flatMap((prefix) => [prefix, `${prefix}/*`])) {
    if (!known.has(url)) server.route({ method: METHODS, url, config, handler: notFound })
  }
}

/** For routes that allow the owner: an answer without the question whether it is the owner never leaves. */
function asked({ method, url, onSend }: RouteOptions): NonNullable<RouteOptions['onSend']> {
  const ask: NonNullable<RouteOptions['onSend']> = (request, reply, payload, done) => {
    const forgotten = reply.statusCode < 400 && !request.ownerKnown
    if (forgotten) throw new TypeError(`${method} ${url} has not asked ensureOwner().`)
    done(null, payload)
  }
  return [...[onSend ?? []].flat(), ask] as NonNullable<RouteOptions['onSend']>
}

function faultsOfRoute({ method, url, config }: RouteOptions, prefixes: readonly string[]): string[] {
  const inside = prefixes.some((prefix) => url === prefix || url.startsWith(`${prefix}/`))
  return [
    ...(inside ? [] : [`${method} ${url} is outside of its prefixes (${prefixes.join(', ') || 'none'}).`]),
    ...(config?.allow ? [] : [`${method} ${url} does not say who may use it (config.allow).`]),
  ]
}
