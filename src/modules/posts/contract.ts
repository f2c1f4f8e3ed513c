import { Type } from 'typebox'
import { defineContract, event } from '../../platform/kit/contract.ts'
import { Id } from '../../platform/kit/pages.ts'

export const posts = defineContract('posts', {
  routes: ['/api/posts', '/api/comments', '/api/tags'],
  errors: {
    PostNotFound: { status: 404, message: 'There is no such post.' },
    CommentNotFound: { status: 404, message: 'There is no such comment.' },
    AuthorUnknown: { status: 403, message: 'This account cannot write: it is not there any more.' },
  },
  events: {
    /** A post was published; drafts are nobody's business. */
    postCreated: event('post.created', {
      version: 1,
      key: 'postId',
      data: Type.Object({ postId: Id, authorId: Id, title: Type.String() }),
    }),
    /** A published post was deleted, or made a draft again. */
    postDeleted: event('post.deleted', { version: 1, key: 'postId', data: Type.Object({ postId: Id, authorId: Id }) }),
    commentCreated: event('comment.created', {
      version: 1,
      key: 'postId',
      data: Type.Object({
        commentId: Id,
        postId: Id,
        postTitle: Type.String(),
        postAuthorId: Id,
        authorId: Id,
        authorName: Type.String(),
        excerpt: Type.String({ description: 'The beginning of the comment.' }),
      }),
    }),
  },
  permissions: {
    deletePosts: ['moderator', 'admin'],
    deleteComments: ['moderator', 'admin'],
  },
})
