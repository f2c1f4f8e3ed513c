import fastify from 'fastify'

const server = fastify({ logger: false })
server.get('/readyz', async () => ({ status: 'ready' }))
await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
