import { definePlugin } from '../../platform/kit/module.ts'
import { eq, sql } from '../../platform/kit/tables.ts'
import { posts } from '../posts/contract.ts'
import { accountsOf, publicPart } from './accounts.ts'
import type { users as contract } from './contract.ts'
import { authRoutes } from './routes/auth.ts'
import { userRoutes } from './routes/users.ts'
import { users } from './tables.ts'

export default definePlugin<typeof contract>((app) => {
  const accounts = accountsOf(app)

  app.implement({
    getUser: async ({ id }) => publicPart(await accounts.get(id)),
  })

  app.subscribe(posts.events.postCreated, async ({ data }, { tx }) => {
    await tx
      .update(users)
      .set({ postCount: sql`${users.postCount} + 1` })
      .where(eq(users.id, data.authorId))
  })

  authRoutes(app, accounts)
  userRoutes(app, accounts)
})
