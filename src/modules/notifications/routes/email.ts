import { Type } from 'typebox'
import { etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Resource } from '../../../platform/kit/pages.ts'
import { notifications as contract } from '../contract.ts'
import { enqueue } from '../delivery.ts'
import { Accepted, Email, type Messages, oneOf } from '../messages.ts'
import type { Recipients } from '../recipients.ts'

const NewEmail = Type.Object(
  {
    userId: Type.Optional(Type.String({ ...Id, description: 'A user; either this or `to`.' })),
    to: Type.Optional(
      Type.String({
        format: 'email',
        maxLength: 254,
        description: 'An address; either this or `userId`.',
        examples: ['ada@example.com'],
      }),
    ),
    subject: Type.String({
      minLength: 1,
      maxLength: 200,
      pattern: '^(?=.*\\S)[^\\p{Cc}\\u2028\\u2029]+$',
      description: 'One line.',
      examples: ['Maintenance on Sunday'],
    }),
    text: Type.String({ minLength: 1, maxLength: 100_000, pattern: '\\S', examples: ['We shall be back at noon.'] }),
    html: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200_000, description: 'The same in HTML; it is sent as it is.' }),
    ),
  },
  { additionalProperties: false, ...oneOf('userId', 'to') },
)

/** Mail by hand. */
export function emailRoutes(
  app: ModuleApp<typeof contract>,
  { recipients, messages, delivery }: { recipients: Recipients; messages: Messages; delivery: { wake(): void } },
): void {
  const { sendEmail } = contract.permissions
  const { EmailNotFound, RecipientUnknown } = contract.errors

  app.post(
    '/api/email',
    {
      config: { allow: { permission: sendEmail }, idempotent: true, etag: true, throws: [RecipientUnknown] },
      schema: {
        operationId: 'sendEmail',
        summary: 'Send a mail to a user or an address',
        body: NewEmail,
        response: { 202: Resource(Accepted) },
      },
    },
    async (request, reply) => {
      const { userId, to: address, ...mail } = request.body
      const { version, ...accepted } = await app.once(request, reply, async (tx) => {
        const to = address ?? (await recipients.lock(tx, userId!)).email
        if (!to) throw new RecipientUnknown()
        return await enqueue(app, tx, { channel: 'email', to, userId: userId ?? null, ...mail })
      })
      delivery.wake()
      reply.code(202).header('location', `/api/email/${accepted.id}`)
      return resource(request, reply, accepted, etagOf(version))
    },
  )

  app.get(
    '/api/email/:id',
    {
      config: { allow: { permission: sendEmail }, etag: true, throws: [EmailNotFound] },
      schema: {
        operationId: 'getEmail',
        summary: 'What became of a mail',
        params: Type.Object({ id: Id }),
        response: { 200: Resource(Email) },
      },
    },
    async (request, reply) => {
      const found = await messages.get('email', request.params.id)
      if (!found) throw new EmailNotFound()
      const { version, ...email } = found
      return resource(request, reply, email, etagOf(version))
    },
  )
}
