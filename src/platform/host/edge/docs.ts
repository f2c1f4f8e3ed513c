import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { Manifest } from '../../kit/module.ts'

/**
 * Serves `/openapi.json` and, readable, `/docs`. Both are made when somebody first asks: a process that serves no readers
 * loads nothing for them.
 */
export function serveDocs(server: FastifyInstance, modules: readonly Manifest[]): void {
  let document: Promise<object> | undefined
  let reader: Promise<FastifyInstance> | undefined
  const openapi = () => {
    document ??= import('../openapi/describe.ts')
      .then(({ describeApi }) => describeApi(modules))
      .catch((error) => {
        document = undefined
        throw error
      })
    return document
  }

  server.get('/openapi.json', { config: { allow: 'anyone' } }, async (_request, reply) => {
    return reply
      .type('application/json')
      .serializer(JSON.stringify)
      .send(await openapi())
  })

  for (const url of ['/docs', '/docs/*']) {
    server.get(url, { config: { allow: 'anyone' } }, async (request, reply) => {
      reader ??= openapi()
        .then(createReader)
        .catch((error) => {
          reader = undefined
          throw error
        })
      const { routing } = await reader
      reply.hijack()
      routing(request.raw, reply.raw)
    })
  }
  server.addHook('onClose', async () => (await reader)?.close())
}

/** Scalar's reader in an instance of its own: it needs a Content-Security-Policy that the API has no use for. */
async function createReader(document: object): Promise<FastifyInstance> {
  const { default: scalar } = await import('@scalar/fastify-api-reference')
  const docs = fastify()
  docs.addHook('onSend', async (_request, reply) => {
    reply.header(
      'content-security-policy',
      "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'",
    )
    reply.header('x-content-type-options', 'nosniff')
  })
  await docs.register(scalar, {
    routePrefix: '/docs',
    configuration: {
      content: document,
      metaData: { title: 'Seam API' },
      withDefaultFonts: false,
      telemetry: false,
      showDeveloperTools: 'never',
      hideClientButton: true,
      agent: { disabled: true },
    },
  })
  await docs.ready()
  return docs
}
