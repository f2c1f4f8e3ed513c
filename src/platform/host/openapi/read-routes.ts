import fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import type { Manifest, ModuleServices } from '../../kit/module.ts'
import { drizzleOnNothing } from '../data/drizzle.ts'
import { mountModule } from '../mount.ts'

/**
 * Builds modules on services that do nothing, so that their routes can be read: as they were declared, wherever the modules
 * run. Nothing is started, validated or answered.
 *
 * @param prepare is handed the server before the modules are built on it
 */
export async function readRoutes(
  modules: readonly Manifest[],
  prepare: (server: FastifyInstance) => PromiseLike<unknown> = async () => {},
): Promise<{ server: FastifyInstance; routes: RouteOptions[] }> {
  const server: FastifyInstance = fastify()
  server.setValidatorCompiler(() => () => true)
  server.setSerializerCompiler(() => () => '')
  await prepare(server)
  const routes: RouteOptions[] = []
  for (const manifest of modules) routes.push(...(await mountModule(server, manifest, { services: nothing() })).routes)
  await server.ready()
  return { server, routes }
}

/** Services for a module that is only looked at. */
function nothing(): ModuleServices {
  const never = (): never => {
    throw new Error('This module is described, not run.')
  }
  return {
    settings: {},
    db: drizzleOnNothing(),
    call: () => new Proxy({}, { get: () => never }) as never,
    implement: () => {},
    publish: never,
    publishWith: never,
    subscribe: () => {},
    sweep: () => ({ wake: () => {} }),
    cursors: { sign: never, read: never },
    sessions: {
      token: never,
      start: never,
      stop: never,
      list: never,
      underWay: never,
      end: never,
      endAll: never,
      setRoles: never,
    },
    once: never,
    signal: never,
    onSignal: () => {},
    traces: { mark: never, goOn: never },
    task: () => {},
  }
}
