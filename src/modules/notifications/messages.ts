import { type Static, Type } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { and, eq, sql } from '../../platform/kit/tables.ts'
import type { notifications } from './contract.ts'
import type { Channel } from './delivery.ts'
import { outgoing } from './tables.ts'

const Status = Type.Enum(['queued', 'sent', 'failed'], {
  description:
    '`queued`: it is to be sent, or sent again. `sent`: a server has taken it. `failed`: it was refused, or tried too often.',
})

/** What is known at once of a message that was accepted. */
export const Accepted = Type.Object({ id: Id, status: Status })

/** What became of a message. */
const Message = Type.Object({
  id: Id,
  to: Type.String(),
  status: Status,
  attempts: Type.Integer({ minimum: 0, description: 'How often it was tried to send it.' }),
  lastError: Type.Optional(Type.String({ description: 'Why it could not be sent the last time.' })),
  createdAt: Instant,
  sentAt: Type.Optional(Instant),
})
export const Email = Type.Object({ ...Message.properties, subject: Type.String() })
export const Sms = Message

/** Whom a message is for: a user, or an address. */
export const oneOf = (...names: string[]) => ({ oneOf: names.map((name) => ({ required: [name] })) })

export type Messages = ReturnType<typeof messagesOf>

/** Messages that have left, or are to leave, as those who send them may see them. */
export function messagesOf(app: ModuleApp<typeof notifications>) {
  const byId = app.db
    .select()
    .from(outgoing)
    .where(and(eq(outgoing.id, sql.placeholder('id')), eq(outgoing.channel, sql.placeholder('channel'))))
    .prepare('outgoing_by_id')

  return {
    async get(channel: Channel, id: string): Promise<(Static<typeof Email> & { version: number }) | undefined> {
      const [found] = await byId.execute({ id, channel })
      if (!found) return undefined
      const { to, subject, status, attempts, lastError, version, createdAt, sentAt } = found
      return {
        id,
        to,
        subject: subject ?? '',
        status,
        attempts,
        ...(lastError !== null && { lastError }),
        createdAt,
        ...(sentAt !== null && { sentAt }),
        version,
      }
    },
  }
}
