import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { Unauthenticated } from '../../../platform/kit/errors.ts'
import { ensureMatch, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Page, PageQuery, page, Resource } from '../../../platform/kit/pages.ts'
import { ensureOwner, userOf } from '../../../platform/kit/permissions.ts'
import type { Authors } from '../authors.ts'
import { posts as contract } from '../contract.ts'
import { etagOfPost, Post, type PostRow, Status } from '../post.ts'
import type { PostReader } from '../post-reader.ts'
import type { PostWriter } from '../post-writer.ts'
import { scopedCursors } from '../scoped-cursors.ts'
import { searchOf } from '../search.ts'
import { Tag, tagOf, tagsOf } from '../tags.ts'

const { PostNotFound, AuthorUnknown } = contract.errors
const ofPost = Type.Object({ id: Id })

const title = Type.String({ minLength: 1, maxLength: 200, pattern: '\\S', examples: ['On engines'] })
const content = Type.String({
  minLength: 1,
  maxLength: 100_000,
  description: 'Plain text.',
  examples: ['They weave algebraic patterns.'],
})
const tags = { maxItems: 20, uniqueItems: true, description: 'Kept in lower case.', examples: [['history', 'fastify']] }

const NewPost = Type.Object(
  {
    title,
    content,
    tags: Type.Array(Tag, { ...tags, default: [] }),
    status: Type.Enum(Status.enum, { default: 'published', description: 'A draft exists for its author alone.' }),
  },
  { additionalProperties: false },
)

const Patch = Type.Partial(Type.Object({ title, content, tags: Type.Array(Tag, tags), status: Status }), {
  additionalProperties: false,
  minProperties: 1,
})

const Filter = Type.Object(
  {
    ...PageQuery.properties,
    author: Type.Optional(Type.String({ format: 'uuid', description: 'Only posts of this user.' })),
    tag: Type.Optional(Tag),
    status: Type.Enum(Status.enum, {
      default: 'published',
      description: "`draft`: the caller's own drafts; 401 for who is not signed in. There are no others for anybody.",
    }),
    q: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        pattern: '\\S',
        description:
          'Full-text search in titles, contents and tags, in any letter case and inflection of English; the best first. ' +
          'All words must be there; `"…"` wants them in this order, `or` one of two, `-` leaves a word out. ' +
          'Common words (`the`) alone find nothing.',
        examples: ['"analytical engine" -steam'],
      }),
    ),
  },
  { additionalProperties: false },
)

const Listed = Type.Object({
  ...Post.properties,
  snippet: Type.Optional(
    Type.String({
      description:
        'With `q` only: where the content has what was searched for. Text, not HTML: escape it as you do `content`. What was ' +
        'found is between « and »; where the content itself has these, they are ‹ and ›.',
      examples: ['They weave algebraic «patterns», as the loom weaves flowers'],
    }),
  ),
})

export function postRoutes(
  app: ModuleApp<typeof contract>,
  { authors, reader, writer }: { authors: Authors; reader: PostReader; writer: PostWriter },
): void {
  app.post(
    '/api/posts',
    {
      config: { allow: 'user', idempotent: true, etag: true, throws: [AuthorUnknown] },
      schema: { operationId: 'createPost', summary: 'Write a post', body: NewPost, response: { 201: Resource(Post) } },
    },
    async (request, reply) => {
      const { userId } = userOf(request)
      const post = await authors.knowing(userId, () =>
        app.once(request, reply, (tx) =>
          writer.create(tx, userId, { ...request.body, tags: tagsOf(request.body.tags) }),
        ),
      )
      reply.code(201).header('location', `/api/posts/${post.id}`)
      return resource(request, reply, post, etagOfPost(post))
    },
  )

  app.get(
    '/api/posts',
    {
      config: { allow: 'anyone' },
      schema: {
        operationId: 'listPosts',
        summary: 'Posts, newest first; with `q` those that match a search, the best first',
        querystring: Filter,
        response: { 200: Page(Listed) },
      },
    },
    async (request, reply) => {
      const { limit, cursor, q, status } = request.query
      const tag = request.query.tag && tagOf(request.query.tag)
      const wanted = request.query.author?.toLowerCase()
      const caller = request.identity?.userId
      if (status === 'draft' && caller === undefined) throw new Unauthenticated()
      const author = status === 'draft' ? caller : wanted
      const filter = { status, ...(author && { author }), ...(tag && { tag }) }
      const cursors = scopedCursors(app.cursors, 'posts', { ...filter, ...(q && { q }) })
      const position = cursor === undefined ? undefined : cursors.read(cursor)
      // Drafts of others do not exist.
      if (wanted && wanted !== author) return page(request, reply, { cursors, rows: [], limit, position: () => '' })
      if (q === undefined) {
        const rows = await reader.list(filter, { limit, ...(position && { before: position }) })
        return page(request, reply, { cursors, rows, limit, position: (post) => post.id })
      }
      const [rank, before] = position?.split(' ') ?? []
      const rows = await reader.search(
        { ...filter, q: searchOf(q) },
        { limit, ...(before && { before, rank: Number(rank) }) },
      )
      return page(request, reply, { cursors, rows, limit, position: (post) => `${post.rank} ${post.id}` })
    },
  )

  app.get(
    '/api/posts/:id',
    {
      config: { allow: 'anyone', etag: true, throws: [PostNotFound] },
      schema: { operationId: 'getPost', summary: 'A post', params: ofPost, response: { 200: Resource(Post) } },
    },
    async (request, reply) => {
      const post = await reader.get(request.params.id, request.identity?.userId)
      return resource(request, reply, post, etagOfPost(post))
    },
  )

  app.patch(
    '/api/posts/:id',
    {
      config: { allow: { owner: true }, etag: true, throws: [PostNotFound, AuthorUnknown] },
      schema: {
        operationId: 'updatePost',
        summary: 'Change a post of one’s own, publish it, or make it a draft again',
        params: ofPost,
        body: Patch,
        response: { 200: Resource(Post) },
      },
    },
    async (request, reply) => {
      const { tags, ...rest } = request.body
      const patch = { ...rest, ...(tags && { tags: tagsOf(tags) }) }
      const post = await writer.change(request.params.id, userOf(request).userId, patch, ensuring(request))
      return resource(request, reply, post, etagOfPost(post))
    },
  )

  app.post(
    '/api/posts/:id/publish',
    {
      config: { allow: { owner: true }, etag: 'match', throws: [PostNotFound, AuthorUnknown] },
      schema: {
        operationId: 'publishPost',
        summary: 'Publish a draft of one’s own; nothing happens if it is published already',
        params: ofPost,
        response: { 200: Resource(Post) },
      },
    },
    async (request, reply) => {
      const patch = { status: 'published' as const }
      const post = await writer.change(request.params.id, userOf(request).userId, patch, ensuring(request))
      return resource(request, reply, post, etagOfPost(post))
    },
  )

  app.delete(
    '/api/posts/:id',
    {
      config: {
        allow: { owner: true, permission: contract.permissions.deletePosts },
        etag: true,
        throws: [PostNotFound],
      },
      schema: {
        operationId: 'deletePost',
        summary: 'Delete a post and its comments: one’s own, or any that is published as a moderator',
        params: ofPost,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await writer.remove(request.params.id, userOf(request).userId, ensuring(request))
      return reply.code(204).send(null)
    },
  )
}

/** Refuses a change by somebody who may not make it, or who has not seen the post as it is. */
const ensuring = (request: FastifyRequest) => (post: PostRow) => {
  ensureOwner(request, post.author.id)
  ensureMatch(request, etagOfPost(post))
}
