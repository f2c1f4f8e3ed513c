import { definePlugin } from '../../platform/kit/module.ts'
import { emailChannel } from './channels/email.ts'
import { pushChannel } from './channels/push.ts'
import { smsChannel } from './channels/sms.ts'
import type { notifications as contract } from './contract.ts'
import { deliveryOf, forgetOld } from './delivery.ts'
import { handleEvents } from './handlers.ts'
import { inboxOf } from './inbox.ts'
import { messagesOf } from './messages.ts'
import { pushKeysOf } from './push-keys.ts'
import { recipientsOf } from './recipients.ts'
import { emailRoutes } from './routes/email.ts'
import { notificationRoutes } from './routes/notifications.ts'
import { preferenceRoutes } from './routes/preferences.ts'
import { pushRoutes } from './routes/push.ts'
import { smsRoutes } from './routes/sms.ts'
import { streamRoutes } from './routes/stream.ts'
import type { settings } from './settings.ts'
import { Streams } from './streams.ts'

export default definePlugin<typeof contract, typeof settings>((app) => {
  const recipients = recipientsOf(app)
  const messages = messagesOf(app)
  const keys = pushKeysOf(app)

  const { SMTP_URL, SMS_URL } = app.settings
  const email = deliveryOf(app, { channel: 'email', deliver: emailChannel(app), keep: SMTP_URL === undefined })
  const sms = deliveryOf(app, { channel: 'sms', deliver: smsChannel(app), keep: SMS_URL === undefined })
  const push = deliveryOf(app, { channel: 'push', deliver: pushChannel(app, keys), keep: false })
  forgetOld(app)
  const wake = () => {
    for (const delivery of [email, sms, push]) delivery.wake()
  }
  handleEvents(app, { recipients, wake })

  notificationRoutes(app, inboxOf(app))
  streamRoutes(app, recipients, new Streams(app))
  preferenceRoutes(app, recipients)
  emailRoutes(app, { recipients, messages, delivery: email })
  smsRoutes(app, { recipients, messages, delivery: sms })
  pushRoutes(app, { recipients, keys })
})
