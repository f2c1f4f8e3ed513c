import type { ModuleApp } from '../../../platform/kit/module.ts'
import { eq } from '../../../platform/kit/tables.ts'
import type { notifications } from '../contract.ts'
import { type Deliver, Refused } from '../delivery.ts'
import { Gone, outside } from '../outside.ts'
import type { PushKeys } from '../push-keys.ts'
import type { settings } from '../settings.ts'
import { subscriptions } from '../tables.ts'

/** Seconds for which a push service keeps a message for a browser that is not there: a day. */
const TTL = 86_400

/**
 * Sends web push (RFC 8030), encrypted for the browser (RFC 8291) and signed by this system (RFC 8292). A subscription
 * that its push service does not know any more is removed.
 */
export function pushChannel(app: ModuleApp<typeof notifications, typeof settings>, keys: PushKeys): Deliver {
  const service = outside({ anywhere: app.settings.PUSH_PRIVATE_ENDPOINTS })
  app.addHook('onClose', () => service.close())

  return async ({ id, userId, to, text }, signal) => {
    const [found] = await app.db.select().from(subscriptions).where(eq(subscriptions.id, to))
    // Somebody else may have signed in at the browser since.
    if (found?.userId !== userId) throw new Refused('The user has no such subscription any more.')
    const { default: webPush } = await import('web-push')
    const { endpoint, p256dh, auth } = found
    const { headers, body } = webPush.generateRequestDetails({ endpoint, keys: { p256dh, auth } }, text, {
      vapidDetails: await keys(),
      TTL,
      // Of messages with one topic that wait for a browser, it gets the last: a repetition is not shown twice.
      topic: id.replaceAll('-', ''),
    })
    try {
      await service.post(endpoint, headers as Record<string, string>, body as Buffer, signal)
    } catch (error) {
      if (error instanceof Gone) await app.db.delete(subscriptions).where(eq(subscriptions.id, to))
      throw error
    }
  }
}
