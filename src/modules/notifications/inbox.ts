import { type Static, Type } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { and, desc, eq, isNull, lt, sql } from '../../platform/kit/tables.ts'
import { notifications as contract } from './contract.ts'
import { Kind } from './kinds.ts'
import { notifications } from './tables.ts'

export const Notification = Type.Object({
  id: Id,
  kind: Kind,
  text: Type.String({ description: 'Plain text.', examples: ['Welcome to Seam, Ada!'] }),
  link: Type.Union([Type.String(), Type.Null()], {
    description: 'The path in this API of what it is about.',
    examples: ['/api/comments/01900000-0000-7000-8000-000000000000'],
  }),
  createdAt: Instant,
  readAt: Type.Union([Instant, Type.Null()]),
})
export type Notification = Static<typeof Notification>

export type Inbox = ReturnType<typeof inboxOf>

/** Where the first page begins: behind every place in a sequence. */
const END = Number.MAX_SAFE_INTEGER

/** The notifications that users find in the application. */
export function inboxOf(app: ModuleApp<typeof contract>) {
  const { id, userId, sequence, kind, text, link, version, createdAt, readAt } = notifications
  const columns = { id, kind, text, link, version, createdAt, readAt }
  const mine = eq(userId, sql.placeholder('userId'))
  const page = (name: string, filter?: ReturnType<typeof isNull>) =>
    app.db
      .select({ ...columns, sequence })
      .from(notifications)
      .where(and(mine, lt(sequence, sql.placeholder('before')), filter))
      .orderBy(desc(sequence))
      .limit(sql.placeholder('limit'))
      .prepare(name)
  const pages = { all: page('notifications'), unread: page('notifications_unread', isNull(readAt)) }
  const byId = app.db
    .select(columns)
    .from(notifications)
    .where(and(eq(id, sql.placeholder('id')), mine))
    .prepare('notification_by_id')

  return {
    /** Newest first, `limit` and one more, each with its place. */
    list(owner: string, filter: { unread?: boolean; before?: number; limit: number }) {
      const from = { userId: owner, before: filter.before ?? END, limit: filter.limit + 1 }
      return (filter.unread ? pages.unread : pages.all).execute(from)
    },

    /** @throws {NotificationNotFound} also for those of others */
    async get(owner: string, notification: string) {
      const [found] = await byId.execute({ userId: owner, id: notification })
      if (!found) throw new contract.errors.NotificationNotFound()
      return found
    },

    /** Marks one as read; one that is read already stays as it is. @throws {NotificationNotFound} also for those of others */
    async read(owner: string, notification: string) {
      const [found] = await app.db
        .update(notifications)
        .set({
          readAt: sql`coalesce(${readAt}, now())`,
          version: sql`${version} + case when ${readAt} is null then 1 else 0 end`,
        })
        .where(and(eq(id, notification), eq(userId, owner)))
        .returning(columns)
      if (!found) throw new contract.errors.NotificationNotFound()
      return found
    },

    async readAll(owner: string): Promise<void> {
      await app.db
        .update(notifications)
        .set({ readAt: sql`now()`, version: sql`${version} + 1` })
        .where(and(eq(userId, owner), isNull(readAt)))
    },
  }
}
