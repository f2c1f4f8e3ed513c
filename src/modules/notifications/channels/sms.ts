import type { ModuleApp } from '../../../platform/kit/module.ts'
import type { notifications } from '../contract.ts'
import type { Deliver } from '../delivery.ts'
import { outside } from '../outside.ts'
import type { settings } from '../settings.ts'

/**
 * Hands a text message to the provider at `SMS_URL`: `POST { id, to, text }` with the id as `Idempotency-Key`; 2xx means
 * that it was taken. Without `SMS_URL` text messages go nowhere, and count as sent.
 */
export function smsChannel(app: ModuleApp<typeof notifications, typeof settings>): Deliver {
  const { SMS_URL: url } = app.settings
  const provider = outside({ anywhere: true })
  app.addHook('onClose', () => provider.close())

  return async ({ id, to, text }, signal) => {
    if (!url) return
    const headers = { 'content-type': 'application/json', 'idempotency-key': id }
    await provider.post(url, headers, JSON.stringify({ id, to, text }), signal)
  }
}
