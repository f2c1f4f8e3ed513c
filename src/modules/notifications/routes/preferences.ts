import { ensureMatch, etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Resource } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import { notifications as contract } from '../contract.ts'
import { Preferences } from '../kinds.ts'
import { preferencesOf, type Recipients } from '../recipients.ts'

/** What the caller wants to be told, and how. */
export function preferenceRoutes(app: ModuleApp<typeof contract>, recipients: Recipients): void {
  app.get(
    '/api/notifications/preferences',
    {
      config: { allow: 'user', etag: true },
      schema: {
        operationId: 'getPreferences',
        summary: 'Which kinds of notifications reach the caller, and how',
        response: { 200: Resource(Preferences) },
      },
    },
    async (request, reply) => {
      const recipient = await recipients.get(userOf(request).userId)
      return resource(request, reply, preferencesOf(recipient), etagOf(recipient?.version ?? 0))
    },
  )

  app.put(
    '/api/notifications/preferences',
    {
      config: { allow: 'user', etag: true, throws: [contract.errors.RecipientUnknown] },
      schema: {
        operationId: 'setPreferences',
        summary: 'Set which kinds of notifications reach the caller, and how',
        body: Preferences,
        response: { 200: Resource(Preferences) },
      },
    },
    async (request, reply) => {
      const recipient = await app.db.transaction(async (tx) => {
        const before = await recipients.lock(tx, userOf(request).userId)
        ensureMatch(request, etagOf(before.version))
        return await recipients.setPreferences(tx, before, request.body)
      })
      return resource(request, reply, preferencesOf(recipient), etagOf(recipient.version))
    },
  )
}
