import { Type } from 'typebox'
import { ensureMatch, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Page, PageQuery, page, Resource } from '../../../platform/kit/pages.ts'
import { ensureOwner, userOf } from '../../../platform/kit/permissions.ts'
import type { Authors } from '../authors.ts'
import { Comment, type Comments, etagOfComment } from '../comments.ts'
import { posts as contract } from '../contract.ts'
import { scopedCursors } from '../scoped-cursors.ts'

const { PostNotFound, CommentNotFound, AuthorUnknown } = contract.errors
const ofPost = Type.Object({ id: Id })
const ofComment = Type.Object({ id: Id })

const NewComment = Type.Object(
  {
    content: Type.String({
      minLength: 1,
      maxLength: 10_000,
      pattern: '\\S',
      description: 'Plain text.',
      examples: ['Well said.'],
    }),
  },
  { additionalProperties: false },
)

export function commentRoutes(
  app: ModuleApp<typeof contract>,
  { authors, comments }: { authors: Authors; comments: Comments },
): void {
  app.get(
    '/api/posts/:id/comments',
    {
      config: { allow: 'anyone', throws: [PostNotFound] },
      schema: {
        operationId: 'listComments',
        summary: 'The comments on a post, oldest first',
        params: ofPost,
        querystring: PageQuery,
        response: { 200: Page(Comment) },
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const { id } = request.params
      const cursors = scopedCursors(app.cursors, 'comments', { id })
      const after = cursor === undefined ? {} : { after: cursors.read(cursor) }
      const rows = await comments.list(id, request.identity?.userId, { limit, ...after })
      return page(request, reply, { cursors, rows, limit, position: (comment) => comment.id })
    },
  )

  app.post(
    '/api/posts/:id/comments',
    {
      config: { allow: 'user', idempotent: true, etag: true, throws: [PostNotFound, AuthorUnknown] },
      schema: {
        operationId: 'createComment',
        summary: 'Comment on a post',
        params: ofPost,
        body: NewComment,
        response: { 201: Resource(Comment) },
      },
    },
    async (request, reply) => {
      const { userId } = userOf(request)
      const comment = await authors.knowing(userId, () =>
        app.once(request, reply, (tx) => comments.create(tx, request.params.id, userId, request.body.content)),
      )
      reply.code(201).header('location', `/api/comments/${comment.id}`)
      return resource(request, reply, comment, etagOfComment(comment))
    },
  )

  app.get(
    '/api/comments/:id',
    {
      config: { allow: 'anyone', etag: true, throws: [CommentNotFound] },
      schema: {
        operationId: 'getComment',
        summary: 'A comment',
        params: ofComment,
        response: { 200: Resource(Comment) },
      },
    },
    async (request, reply) => {
      const comment = await comments.get(request.params.id, request.identity?.userId)
      return resource(request, reply, comment, etagOfComment(comment))
    },
  )

  app.patch(
    '/api/comments/:id',
    {
      config: { allow: { owner: true }, etag: true, throws: [CommentNotFound, AuthorUnknown] },
      schema: {
        operationId: 'updateComment',
        summary: 'Change a comment of one’s own',
        params: ofComment,
        body: NewComment,
        response: { 200: Resource(Comment) },
      },
    },
    async (request, reply) => {
      const comment = await comments.change(
        request.params.id,
        userOf(request).userId,
        request.body.content,
        (found) => {
          ensureOwner(request, found.author.id)
          ensureMatch(request, etagOfComment(found))
        },
      )
      return resource(request, reply, comment, etagOfComment(comment))
    },
  )

  app.delete(
    '/api/comments/:id',
    {
      config: {
        allow: { owner: true, permission: contract.permissions.deleteComments },
        etag: true,
        throws: [CommentNotFound],
      },
      schema: {
        operationId: 'deleteComment',
        summary: 'Delete a comment: one’s own, or any as a moderator',
        params: ofComment,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await comments.remove(request.params.id, userOf(request).userId, (found) => {
        ensureOwner(request, found.author.id)
        ensureMatch(request, etagOfComment(found))
      })
      return reply.code(204).send(null)
    },
  )
}
