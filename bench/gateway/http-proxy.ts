import httpProxy from '@fastify/http-proxy'
import fastify from 'fastify'
import { serve } from '../lib/children.ts'

/** The plugin as it comes: nobody is authenticated, nothing is counted, nothing is signed. */
await serve<{ upstream: string; connections: number }>(async ({ upstream, connections }) => {
  const server = fastify({ logger: false })
  await server.register(httpProxy, {
    upstream,
    prefix: '/api/posts',
    rewritePrefix: '/api/posts',
    disableRequestLogging: true,
    undici: { connections, pipelining: 1 },
  })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { ready: { port: Number(new URL(url).port) } }
})
