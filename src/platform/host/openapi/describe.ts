import swagger from '@fastify/swagger'
import type { Manifest } from '../../kit/module.ts'
import { methodsOf } from '../http/methods.ts'
import { nameSchemas } from './components.ts'
import { completed, HEADERS, type Operation } from './operations.ts'
import { OWN_PATHS, Problem } from './own-paths.ts'
import { readRoutes } from './read-routes.ts'

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
  const { server, routes } = await readRoutes(modules, (server) =>
    server.register(swagger, {
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
    }),
  )
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
