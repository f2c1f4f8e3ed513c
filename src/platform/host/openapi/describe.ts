import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import type { Manifest, ModuleServices } from '../../kit/module.ts'
import { drizzleOnNothing } from '../data/drizzle.ts'
import { methodsOf } from '../http/methods.ts'
import { mountModule } from '../mount.ts'
import { nameSchemas } from './components.ts'
import { completed, HEADERS, type Operation } from './operations.ts'
import { OWN_PATHS, Problem } from './own-paths.ts'

/** An OpenAPI document, as far as it is worked on here. */
interface Document {
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, unknown>>
}

/**
 * The OpenAPI 3.1 document of the whole API, in every process the same. Each module is built once more, on services that
 * do nothing, so that its routes can be read: the code of all modules is here, whichever of them this process hosts.
 * What follows from a route's `config` (who may use it, which errors and headers it has) is added here, once for all.
 */
export async function describeApi(modules: readonly Manifest[]): Promise<object> {
  const server: FastifyInstance = fastify()
  // Describing needs schemas as they are written; nothing is ever validated here.
  server.setValidatorCompiler(() => () => true)
  server.setSerializerCompiler(() => () => '')
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Seam',
        version: '1',
        summary: `Modules: ${modules.map(({ contract }) => contract.name).join(', ')}.`,
        license: { name: 'MIT', identifier: 'MIT' },
      } as never,
      servers: [{ url: '/' }],
      tags: [
        ...modules.map(({ contract: { name } }) => ({ name, description: `What the module ${name} answers.` })),
        { name: 'health', description: 'What the platform itself answers.' },
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          session: { type: 'apiKey', in: 'cookie', name: 'sid' },
        },
        schemas: { Problem: Problem as object },
        headers: HEADERS as never,
      },
    },
    transform: ({ schema, url, route }) => ({ url, schema: { tags: [route.config?.module ?? ''], ...schema } }),
  })
  const routes: RouteOptions[] = []
  for (const manifest of modules) routes.push(...(await mountModule(server, manifest, { services: nothing() })).routes)
  await server.ready()
  const document = server.swagger() as unknown as Document
  await server.close()

  for (const route of routes) {
    const path = document.paths[route.url.replace(/:(\w+)/g, '{$1}')]
    for (const method of methodsOf(route).map((name) => name.toLowerCase())) {
      const operation = path?.[method]
      if (operation) path[method] = completed(operation, method, route.config ?? {})
    }
  }
  return nameSchemas({ ...document, paths: { ...OWN_PATHS, ...document.paths } })
}

/** Services for a module that is only looked at. */
function nothing(): ModuleServices {
  const never = (): never => {
    throw new Error('This module is described, not run.')
  }
  const sessions = { token: never, start: never, stop: never, list: never, end: never, endAll: never, setRoles: never }
  return {
    settings: {},
    db: drizzleOnNothing(),
    call: () => new Proxy({}, { get: () => never }) as never,
    implement: () => {},
    publish: never,
    subscribe: () => {},
    sweep: () => ({ wake: () => {} }),
    cursors: { sign: () => '', read: () => '' },
    sessions,
    once: never,
    signal: never,
    onSignal: () => {},
    task: () => {},
  }
}
