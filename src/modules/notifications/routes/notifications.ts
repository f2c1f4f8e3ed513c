import { Type } from 'typebox'
import { etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Page, PageQuery, page, Resource } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import { notifications as contract } from '../contract.ts'
import { type Inbox, Notification } from '../inbox.ts'

const Filter = Type.Object(
  {
    ...PageQuery.properties,
    unread: Type.Optional(Type.Boolean({ description: '`true`: only those that were not read; `false`: all.' })),
  },
  { additionalProperties: false },
)

const params = Type.Object({ id: Id })
const { NotificationNotFound } = contract.errors

/** What the caller finds in the application. */
export function notificationRoutes(app: ModuleApp<typeof contract>, inbox: Inbox): void {
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
      const before = cursor === undefined ? {} : { before: Number(app.cursors.read(cursor)) }
      const rows = await inbox.list(userOf(request).userId, { limit, unread: unread === true, ...before })
      return page(request, reply, { cursors: app.cursors, rows, limit, position: (row) => String(row.sequence) })
    },
  )

  app.get(
    '/api/notifications/:id',
    {
      config: { allow: 'user', etag: true, throws: [NotificationNotFound] },
      schema: {
        operationId: 'getNotification',
        summary: "One of the caller's notifications",
        params,
        response: { 200: Resource(Notification) },
      },
    },
    async (request, reply) => {
      const { version, ...notification } = await inbox.get(userOf(request).userId, request.params.id)
      return resource(request, reply, notification, etagOf(version))
    },
  )

  app.post(
    '/api/notifications/:id/read',
    {
      config: { allow: 'user', etag: true, throws: [NotificationNotFound] },
      schema: {
        operationId: 'readNotification',
        summary: 'Mark a notification as read; to do it again changes nothing',
        params,
        response: { 200: Resource(Notification) },
      },
    },
    async (request, reply) => {
      const { version, ...notification } = await inbox.read(userOf(request).userId, request.params.id)
      return resource(request, reply, notification, etagOf(version))
    },
  )

  app.post(
    '/api/notifications/read-all',
    {
      config: { allow: 'user' },
      schema: {
        operationId: 'readAllNotifications',
        summary: "Mark all of the caller's notifications as read",
        response: { 204: Type.Null({ description: 'All are read.' }) },
      },
    },
    async (request, reply) => {
      await inbox.readAll(userOf(request).userId)
      return reply.code(204).send(null)
    },
  )
}
