import { definePlugin } from '../../platform/kit/module.ts'
import type { posts as contract } from './contract.ts'
import { postsOf } from './posts.ts'
import { postRoutes } from './routes/posts.ts'

export default definePlugin<typeof contract>((app) => {
  postRoutes(app, postsOf(app))
})
