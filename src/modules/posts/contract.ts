import { Type } from 'typebox'
import { defineContract, event } from '../../platform/kit/contract.ts'
import { Id } from '../../platform/kit/pages.ts'

export const posts = defineContract('posts', {
  routes: ['/api/posts', '/api/comments', '/api/tags'],
  errors: {
    PostNotFound: { status: 404, message: 'There is no such post.' },
  },
  events: {
    postCreated: event('post.created', {
      version: 1,
      key: 'postId',
      data: Type.Object({ postId: Id, authorId: Id, title: Type.String() }),
    }),
  },
})
