import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastify from 'fastify'
import postgres from 'postgres'
import { Type } from 'typebox'
import { Post } from '../../src/modules/posts/post.ts'
import { Id, Resource } from '../../src/platform/kit/pages.ts'
import { serve } from '../lib/children.ts'

/** What one would write who needs nothing else: a route, its schema, the query. */
await serve<{ databaseUrl: string; pool: number }>(async ({ databaseUrl, pool }) => {
  const sql = postgres(databaseUrl, { max: pool, onnotice: () => {} })
  const server = fastify({ logger: false }).withTypeProvider<TypeBoxTypeProvider>()

  server.get(
    '/api/posts/:id',
    { schema: { params: Type.Object({ id: Id }), response: { 200: Resource(Post) } } },
    async ({ params }, reply) => {
      const [post] = await sql`
        select p.id, p.title, p.content, p.tags, p.status, p.created_at, p.updated_at, a.id as author_id, a.first_name, a.last_name
        from posts.posts p join posts.authors a on p.author_id = a.id
        where p.id = ${params.id}`
      if (post?.status !== 'published') return reply.callNotFound()
      return {
        data: {
          id: post.id,
          title: post.title,
          content: post.content,
          tags: post.tags,
          status: post.status,
          author: { id: post.author_id, firstName: post.first_name, lastName: post.last_name },
          createdAt: post.created_at.toISOString(),
          updatedAt: post.updated_at.toISOString(),
        },
      }
    },
  )
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  return { ready: { port: Number(new URL(url).port) } }
})
