import type { ModuleApp } from '../../platform/kit/module.ts'
import { newId, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { notifications as contract } from './contract.ts'
import { enqueue } from './delivery.ts'
import type { Kind } from './kinds.ts'
import { type Letter, noticeLetter, shortened } from './letters.ts'
import { preferencesOf, type Recipients } from './recipients.ts'
import { notifications } from './tables.ts'

/** Something that a user should know. */
export interface News {
  kind: Kind
  /** In plain text. */
  text: string
  /** The path in the API of what it is about. */
  link: string | null
  /** A mail that is sent whatever the user wants, because it is needed. */
  needed?: { email: string; letter: Letter }
}

/** The most characters of a text message: two of the old kind, put together. */
const SMS_LENGTH = 300

/** Wakes those who read the stream of a user, in every process. */
export interface Signal {
  userId: string
  /** The account was deleted. */
  gone?: boolean
}

/**
 * Tells users something, by the channels that they want for its kind. Nothing reaches those whose account is gone.
 *
 * @example await notify(tx, userId, { kind: 'comment', text: 'Bob has commented on “On engines”: …', link: '/api/comments/…' })
 */
export function notifier(app: ModuleApp<typeof contract>, recipients: Recipients) {
  return async (tx: Transaction, userId: string, { kind, text, link, needed }: News): Promise<void> => {
    const recipient = await recipients.count(tx, userId)
    if (!recipient) return
    const { phone, kinds } = preferencesOf(recipient)
    const wants = kinds[kind]
    const id = newId()
    if (wants.inApp) {
      await tx.insert(notifications).values({ id, userId, sequence: recipient.notified, kind, text, link })
      await app.signal(tx, JSON.stringify({ userId } satisfies Signal))
    }
    const to = needed?.email ?? (wants.email ? recipient.email : null)
    if (to) await enqueue(app, tx, { channel: 'email', userId, to, ...(needed?.letter ?? noticeLetter(text)) })
    if (wants.sms && phone)
      await enqueue(app, tx, { channel: 'sms', userId, to: phone, text: shortened(text, SMS_LENGTH) })
    if (wants.push) await enqueuePush(app, tx, userId, { id, kind, text: shortened(text, SMS_LENGTH) })
  }
}

/** One message for each browser of the user's, in one statement. */
async function enqueuePush(
  app: Pick<ModuleApp<typeof contract>, 'traces'>,
  tx: Transaction,
  userId: string,
  content: { id: string; kind: Kind; text: string },
) {
  await tx.execute(sql`
    insert into outgoing (id, channel, user_id, "to", text, traceparent)
    select gen_random_uuid(), 'push', user_id, id, ${JSON.stringify(content)}, ${app.traces.mark()} from subscriptions where user_id = ${userId}`)
}
