import { definePlugin } from '../../platform/kit/module.ts'
import { users } from '../users/contract.ts'
import type { notifications as contract } from './contract.ts'
import { mailerOf } from './mailer.ts'
import { notificationRoutes } from './routes/notifications.ts'
import type { settings } from './settings.ts'
import { emails, notifications } from './tables.ts'

export default definePlugin<typeof contract, typeof settings>((app) => {
  const mailer = mailerOf(app)

  app.subscribe(users.events.userCreated, async ({ data }, { tx, afterCommit }) => {
    const text = `Welcome to Seam, ${data.firstName}!`
    await tx.insert(notifications).values({ userId: data.userId, kind: 'welcome', text })
    await tx
      .insert(emails)
      .values({ to: data.email, subject: 'Welcome to Seam', text: `${text}\n\nYour account is ready.\n` })
    afterCommit(() => mailer.wake())
  })

  notificationRoutes(app)
})
