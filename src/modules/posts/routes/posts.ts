import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Page, PageQuery, page, Resource } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import type { posts as contract } from '../contract.ts'
import { Post, type Posts, Status } from '../posts.ts'

const Tag = Type.String({
  minLength: 1,
  maxLength: 50,
  pattern: '^[\\p{L}\\p{N}][\\p{L}\\p{N} _-]*$',
  examples: ['fastify'],
})

const NewPost = Type.Object(
  {
    title: Type.String({ minLength: 1, maxLength: 200, pattern: '\\S' }),
    content: Type.String({ minLength: 1, maxLength: 100_000 }),
    tags: Type.Array(Tag, { maxItems: 20, uniqueItems: true, default: [] }),
    status: Type.Enum(Status.enum, { default: 'published' }),
  },
  { additionalProperties: false },
)

const Filter = Type.Object(
  { ...PageQuery.properties, author: Type.Optional(Id), tag: Type.Optional(Tag) },
  { additionalProperties: false },
)

export function postRoutes(app: ModuleApp<typeof contract>, posts: Posts): void {
  app.post(
    '/api/posts',
    {
      config: { allow: 'user' },
      schema: { operationId: 'createPost', summary: 'Write a post', body: NewPost, response: { 201: Resource(Post) } },
    },
    async (request, reply) => {
      const post = await posts.create(userOf(request).userId, request.body)
      return reply.code(201).header('location', `/api/posts/${post.id}`).send({ data: post })
    },
  )

  app.get(
    '/api/posts',
    {
      config: { allow: 'anyone' },
      schema: {
        operationId: 'listPosts',
        summary: 'Published posts, newest first',
        querystring: Filter,
        response: { 200: Page(Post) },
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...filter } = request.query
      const before = cursor === undefined ? {} : { before: app.cursors.read(cursor) }
      const rows = await posts.list({ ...filter, ...before, limit })
      return page(request, reply, { cursors: app.cursors, rows, limit, position: (post) => post.id })
    },
  )

  app.get(
    '/api/posts/:id',
    {
      config: { allow: 'anyone' },
      schema: {
        operationId: 'getPost',
        summary: 'A post',
        params: Type.Object({ id: Id }),
        response: { 200: Resource(Post) },
      },
    },
    async ({ params, identity }) => ({ data: await posts.get(params.id, identity?.userId) }),
  )
}
