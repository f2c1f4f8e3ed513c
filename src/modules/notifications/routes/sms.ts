import { Type } from 'typebox'
import { etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Resource } from '../../../platform/kit/pages.ts'
import { notifications as contract } from '../contract.ts'
import { enqueue } from '../delivery.ts'
import { Phone } from '../kinds.ts'
import { Accepted, type Messages, oneOf, Sms } from '../messages.ts'
import type { Recipients } from '../recipients.ts'

const NewSms = Type.Object(
  {
    userId: Type.Optional(
      Type.String({ ...Id, description: 'A user who has a `phone` in their preferences; either this or `to`.' }),
    ),
    to: Type.Optional(Phone),
    text: Type.String({ minLength: 1, maxLength: 1_600, pattern: '\\S', examples: ['We shall be back at noon.'] }),
  },
  { additionalProperties: false, ...oneOf('userId', 'to') },
)

/** Text messages by hand. */
export function smsRoutes(
  app: ModuleApp<typeof contract>,
  { recipients, messages, delivery }: { recipients: Recipients; messages: Messages; delivery: { wake(): void } },
): void {
  const { sendSms } = contract.permissions
  const { SmsNotFound, RecipientUnknown } = contract.errors

  app.post(
    '/api/sms',
    {
      config: { allow: { permission: sendSms }, idempotent: true, etag: true, throws: [RecipientUnknown] },
      schema: {
        operationId: 'sendSms',
        summary: 'Send a text message to a user or a number',
        body: NewSms,
        response: { 202: Resource(Accepted) },
      },
    },
    async (request, reply) => {
      const { userId, to: number, text } = request.body
      const { version, ...accepted } = await app.once(request, reply, async (tx) => {
        const to = number ?? (await recipients.lock(tx, userId!)).phone
        if (!to) throw new RecipientUnknown()
        return await enqueue(app, tx, { channel: 'sms', to, userId: userId ?? null, text })
      })
      delivery.wake()
      reply.code(202).header('location', `/api/sms/${accepted.id}`)
      return resource(request, reply, accepted, etagOf(version))
    },
  )

  app.get(
    '/api/sms/:id',
    {
      config: { allow: { permission: sendSms }, etag: true, throws: [SmsNotFound] },
      schema: {
        operationId: 'getSms',
        summary: 'What became of a text message',
        params: Type.Object({ id: Id }),
        response: { 200: Resource(Sms) },
      },
    },
    async (request, reply) => {
      const found = await messages.get('sms', request.params.id)
      if (!found) throw new SmsNotFound()
      const { version, subject: _none, ...sms } = found
      return resource(request, reply, sms, etagOf(version))
    },
  )
}
