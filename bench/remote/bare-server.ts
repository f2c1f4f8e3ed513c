import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify from 'fastify'
import { serve } from '../lib/children.ts'
import { example, getUser } from '../lib/example.ts'

/** A route that checks its body, calls the function and writes the answer by its schema: no tokens, no deadline, no errors. */
await serve(async () => {
  const server = fastify({ logger: false }).withTypeProvider<TypeBoxTypeProvider>()
  const { input, output } = example.procedures.getUser
  server.post('/getUser', { schema: { body: input, response: { 200: output } } }, ({ body }) => getUser(body))
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { ready: { url } }
})
