import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Instant, Page, PageQuery, page } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import { and, desc, eq, isNull, lt } from '../../../platform/kit/tables.ts'
import type { notifications as contract } from '../contract.ts'
import type { settings } from '../settings.ts'
import { notifications } from '../tables.ts'

const Notification = Type.Object({
  id: Id,
  kind: Type.String({ examples: ['welcome'] }),
  text: Type.String(),
  createdAt: Instant,
  readAt: Type.Union([Instant, Type.Null()]),
})

const Filter = Type.Object(
  { ...PageQuery.properties, unread: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
)

export function notificationRoutes(app: ModuleApp<typeof contract, typeof settings>): void {
  app.get(
    '/api/notifications',
    {
      config: { allow: 'user' },
      schema: {
        operationId: 'listNotifications',
        summary: "The caller's notifications, newest first",
        querystring: Filter,
        response: { 200: Page(Notification) },
      },
    },
    async (request, reply) => {
      const { limit, cursor, unread } = request.query
      const { id, kind, text, createdAt, readAt } = notifications
      const rows = await app.db
        .select({ id, kind, text, createdAt, readAt })
        .from(notifications)
        .where(
          and(
            eq(notifications.userId, userOf(request).userId),
            unread ? isNull(readAt) : undefined,
            cursor === undefined ? undefined : lt(id, app.cursors.read(cursor)),
          ),
        )
        .orderBy(desc(id))
        .limit(limit + 1)
      return page(request, reply, { cursors: app.cursors, rows, limit, position: (row) => row.id })
    },
  )
}
