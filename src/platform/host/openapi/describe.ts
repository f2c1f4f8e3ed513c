import swagger from '@fastify/swagger'
import fastify, { type FastifyContextConfig, type FastifyInstance, type FastifySchema } from 'fastify'
import type { Manifest, ModuleServices } from '../../kit/module.ts'
import { drizzleOnNothing } from '../data/drizzle.ts'
import { mountModule } from '../mount.ts'
import { OWN_PATHS, Problem } from './own-paths.ts'

/**
 * The OpenAPI 3.1 document of the whole API, in every process the same. Each module is built once more, on services that
 * do nothing, so that its routes can be read: the code of all modules is here, whichever of them this process hosts.
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
        description: `Modules: ${modules.map(({ contract }) => contract.name).join(', ')}.`,
      },
      tags: modules.map(({ contract }) => ({ name: contract.name })),
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          session: { type: 'apiKey', in: 'cookie', name: 'sid' },
        },
        schemas: { Problem: Problem as object },
      },
    },
    transform: ({ schema, url, route }) => ({ url, schema: described(schema, route.config ?? {}) }),
  })
  for (const manifest of modules) await mountModule(server, manifest, { services: nothing() })
  await server.ready()
  const document = server.swagger() as { paths?: Record<string, unknown> }
  await server.close()
  return { ...document, paths: { ...OWN_PATHS, ...document.paths } }
}

function described(schema: FastifySchema | undefined, config: FastifyContextConfig): FastifySchema {
  const problem = { $ref: '#/components/schemas/Problem' }
  return {
    tags: config.module ? [config.module] : [],
    ...(config.allow !== 'anyone' && { security: [{ bearer: [] }, { session: [] }] }),
    ...schema,
    response: {
      ...(schema?.response as object | undefined),
      default: { description: 'What went wrong.', content: { 'application/problem+json': { schema: problem } } },
    },
  }
}

/** Services for a module that is only looked at. */
function nothing(): ModuleServices {
  const never = async (): Promise<never> => {
    throw new Error('This module is described, not run.')
  }
  return {
    settings: {},
    db: drizzleOnNothing(),
    call: () => new Proxy({}, { get: () => never }) as never,
    implement: () => {},
    publish: never,
    subscribe: () => {},
    sweep: () => ({ wake: () => {} }),
    cursors: { sign: () => '', read: () => '' },
    sessions: {
      token: never,
      start: never,
      stop: never,
      list: never,
      end: never,
      endAll: never,
      setRoles: never,
    } as never,
    once: never,
    signal: never,
    onSignal: () => {},
    task: () => {},
  }
}
