import { Type } from 'typebox'
import { ensureMatch, etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Resource } from '../../../platform/kit/pages.ts'
import { ensureOwner, userOf } from '../../../platform/kit/permissions.ts'
import { eq } from '../../../platform/kit/tables.ts'
import { notifications as contract } from '../contract.ts'
import type { PushKeys } from '../push-keys.ts'
import type { Recipients } from '../recipients.ts'
import type { settings } from '../settings.ts'
import { checkSubscription, keep, NewSubscription, Subscription } from '../subscriptions.ts'
import { subscriptions } from '../tables.ts'

/** Whoever uses a browser may change, and its keys; what is shown of a subscription does not. */
const ETAG = etagOf(1)

/** Web push: browsers subscribe with this system's key. */
export function pushRoutes(
  app: ModuleApp<typeof contract, typeof settings>,
  { recipients, keys }: { recipients: Recipients; keys: PushKeys },
): void {
  const { RecipientUnknown, SubscriptionNotFound, TooManySubscriptions } = contract.errors

  app.get(
    '/api/push/key',
    {
      config: { allow: 'anyone', etag: true },
      schema: {
        operationId: 'getPushKey',
        summary: 'The key with which browsers subscribe to web push',
        response: {
          200: Resource(
            Type.Object({ publicKey: Type.String({ description: 'For `applicationServerKey`; base64url.' }) }),
          ),
        },
      },
    },
    async (request, reply) => {
      const { publicKey } = await keys()
      return resource(request, reply, { publicKey }, etagOf(publicKey))
    },
  )

  app.post(
    '/api/push/subscriptions',
    {
      config: { allow: 'user', idempotent: true, etag: true, throws: [RecipientUnknown, TooManySubscriptions] },
      schema: {
        operationId: 'subscribeToPush',
        summary: "Have the caller's notifications sent to a browser; the same endpoint again is the same subscription",
        body: NewSubscription,
        response: { 201: Resource(Subscription) },
      },
    },
    async (request, reply) => {
      const { userId } = userOf(request)
      checkSubscription(request.body, app.settings.PUSH_PRIVATE_ENDPOINTS)
      const subscription = await app.once(request, reply, async (tx) => {
        await recipients.lock(tx, userId)
        return await keep(tx, userId, request.body)
      })
      reply.code(201).header('location', `/api/push/subscriptions/${subscription.id}`)
      return resource(request, reply, subscription, ETAG)
    },
  )

  app.delete(
    '/api/push/subscriptions/:id',
    {
      config: { allow: { owner: true }, etag: true, throws: [SubscriptionNotFound] },
      schema: {
        operationId: 'unsubscribeFromPush',
        summary: 'Have nothing more sent to a browser',
        params: Type.Object({ id: Id }),
        response: { 204: Type.Null({ description: 'It gets nothing more.' }) },
      },
    },
    async (request, reply) => {
      await app.db.transaction(async (tx) => {
        const [found] = await tx
          .select()
          .from(subscriptions)
          .where(eq(subscriptions.id, request.params.id))
          .for('update')
        if (!found) throw new SubscriptionNotFound()
        ensureOwner(request, found.userId)
        ensureMatch(request, ETAG)
        await tx.delete(subscriptions).where(eq(subscriptions.id, found.id))
      })
      return reply.code(204).send(null)
    },
  )
}
