import { definePlugin } from '../../platform/kit/module.ts'
import { accountsOf, publicPart } from './accounts.ts'
import type { users as contract } from './contract.ts'
import { credentialsOf } from './credentials.ts'
import { removeExpired } from './expired.ts'
import { grantTask } from './grant.ts'
import { Passwords } from './passwords.ts'
import { countPosts } from './post-counts.ts'
import { authRoutes } from './routes/auth.ts'
import { profileRoutes } from './routes/profile.ts'
import { recoveryRoutes } from './routes/recovery.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { userRoutes } from './routes/users.ts'
import type { settings } from './settings.ts'
import { signInsOf } from './sign-ins.ts'

export default definePlugin<typeof contract, typeof settings>((app) => {
  const passwords = new Passwords(app.settings.PASSWORD_MEMORY)
  const accounts = accountsOf(app)
  const signIns = signInsOf(app, accounts)
  const credentials = credentialsOf(app, accounts, signIns, passwords)

  app.implement({
    getUser: async ({ id }) => publicPart(await accounts.get(id)),
  })

  countPosts(app)

  removeExpired(app)
  grantTask(app, accounts)

  authRoutes(app, accounts, signIns, credentials, passwords)
  sessionRoutes(app, accounts, signIns)
  recoveryRoutes(app, credentials)
  profileRoutes(app, accounts, credentials)
  userRoutes(app, accounts)
})
