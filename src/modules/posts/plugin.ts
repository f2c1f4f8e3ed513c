import { definePlugin } from '../../platform/kit/module.ts'
import { authorsOf } from './authors.ts'
import { commentsOf } from './comments.ts'
import type { posts as contract } from './contract.ts'
import { clearDeletedAuthors } from './deleted-authors.ts'
import { postReaderOf } from './post-reader.ts'
import { postWriterOf } from './post-writer.ts'
import { commentRoutes } from './routes/comments.ts'
import { postRoutes } from './routes/posts.ts'
import { tagRoutes } from './routes/tags.ts'
import { tagCountsOf } from './tags.ts'

export default definePlugin<typeof contract>((app) => {
  const clearing = clearDeletedAuthors(app)
  const authors = authorsOf(app, { onDeleted: () => clearing.wake() })

  postRoutes(app, { authors, reader: postReaderOf(app), writer: postWriterOf(app) })
  commentRoutes(app, { authors, comments: commentsOf(app) })
  tagRoutes(app, tagCountsOf(app))
})
