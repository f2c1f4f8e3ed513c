import type { ModuleApp } from '../../platform/kit/module.ts'
import { posts } from '../posts/contract.ts'
import { users } from '../users/contract.ts'
import type { notifications as contract } from './contract.ts'
import { enqueue } from './delivery.ts'
import { addressLetter, resetLetter, shortened, welcomeLetter } from './letters.ts'
import { notifier, type Signal } from './notify.ts'
import type { Recipients } from './recipients.ts'
import type { settings } from './settings.ts'

/**
 * What happens elsewhere and concerns people. Events of one user may come in any order, and those of posts before those
 * of users: nothing here relies on what should have come first.
 */
export function handleEvents(
  app: ModuleApp<typeof contract, typeof settings>,
  { recipients, wake }: { recipients: Recipients; wake: () => void },
): void {
  const notify = notifier(app, recipients)
  const appUrl = app.settings.APP_URL

  app.subscribe(users.events.userCreated, async ({ data, sequence, isReplayed }, { tx, afterCommit }) => {
    const { userId, email, firstName, verificationToken: token } = data
    await recipients.remember(tx, userId, { email, firstName, sequence })
    if (isReplayed) return
    await notify(tx, userId, {
      kind: 'welcome',
      text: `Welcome to Seam, ${firstName}!`,
      link: null,
      needed: { email, letter: welcomeLetter({ firstName, token, appUrl }) },
    })
    afterCommit(wake)
  })

  app.subscribe(users.events.userUpdated, async ({ data, sequence, isReplayed }, { tx, afterCommit }) => {
    const { userId, email, firstName, verificationToken: token } = data
    await recipients.remember(tx, userId, { email, firstName, sequence })
    if (isReplayed || token === undefined || (await recipients.isGone(tx, userId))) return
    await enqueue(app, tx, { channel: 'email', userId, to: email, ...addressLetter({ firstName, token, appUrl }) })
    afterCommit(wake)
  })

  app.subscribe(users.events.userDeleted, async ({ data: { userId } }, { tx }) => {
    await recipients.forget(tx, userId)
    await app.signal(tx, JSON.stringify({ userId, gone: true } satisfies Signal))
  })

  app.subscribe(users.events.passwordResetRequested, async ({ data, isReplayed }, { tx, afterCommit }) => {
    const { userId, email: to, firstName, token } = data
    if (isReplayed || (await recipients.isGone(tx, userId))) return
    await enqueue(app, tx, { channel: 'email', userId, to, ...resetLetter({ firstName, token, appUrl }) })
    afterCommit(wake)
  })

  app.subscribe(posts.events.commentCreated, async ({ data, isReplayed }, { tx, afterCommit }) => {
    if (isReplayed || data.authorId === data.postAuthorId) return
    const title = shortened(data.postTitle, 100)
    await notify(tx, data.postAuthorId, {
      kind: 'comment',
      text: `${data.authorName} has commented on “${title}”: ${shortened(data.excerpt, 300)}`,
      link: `/api/comments/${data.commentId}`,
    })
    afterCommit(wake)
  })
}
