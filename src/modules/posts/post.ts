import { type Static, Type } from 'typebox'
import { etagOf } from '../../platform/kit/etags.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { authors, posts } from './tables.ts'

export const Status = Type.Enum(['draft', 'published'], {
  description: 'A draft exists for its author alone.',
})
export type Status = Static<typeof Status>

/** Who wrote a post or a comment. The name is the one that the user has now. */
export const Author = Type.Object({ id: Id, firstName: Type.String(), lastName: Type.String() })

export const Post = Type.Object({
  id: Id,
  title: Type.String({ examples: ['On engines'] }),
  content: Type.String({ description: 'Plain text.' }),
  tags: Type.Array(Type.String(), { description: 'In lower case.', examples: [['history', 'fastify']] }),
  status: Status,
  author: Author,
  createdAt: Instant,
  updatedAt: Instant,
})
export type Post = Static<typeof Post>

/** A post with what its ETag is made of; the schema of the answer leaves that out. */
export interface PostRow extends Post {
  version: number
  authorVersion: number
}

/** What to select, from `posts` joined with `authors`, to get a {@link PostRow}. */
export const postColumns = {
  id: posts.id,
  title: posts.title,
  content: posts.content,
  tags: posts.tags,
  status: posts.status,
  author: { id: authors.id, firstName: authors.firstName, lastName: authors.lastName },
  createdAt: posts.createdAt,
  updatedAt: posts.updatedAt,
  version: posts.version,
  authorVersion: authors.version,
}

export const etagOfPost = (post: PostRow): string => etagOf(post.version, post.authorVersion)

/** Whether somebody may know that a post is there. */
export const isVisible = (post: Pick<Post, 'status' | 'author'>, reader: string | undefined): boolean =>
  post.status === 'published' || post.author.id === reader
