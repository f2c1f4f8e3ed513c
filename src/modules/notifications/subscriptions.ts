import { ECDH } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { BadInput } from '../../platform/kit/errors.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { and, eq, ne, sql, type Transaction } from '../../platform/kit/tables.ts'
import { notifications as contract } from './contract.ts'
import { isPublicHost } from './outside.ts'
import { subscriptions } from './tables.ts'

/** Subscriptions that one user may have. */
const PER_USER = 20

/** Names of this machine (RFC 6761). */
const LOCAL = /(^|\.)localhost\.?$/i

/** What a browser's `PushSubscription.toJSON()` gives. */
export const NewSubscription = Type.Object(
  {
    endpoint: Type.String({
      maxLength: 2_000,
      pattern: '^https?://[!-~]+$',
      description: 'Where the push service of the browser takes messages; `https:` only.',
      examples: ['https://push.example.com/send/abc'],
    }),
    expirationTime: Type.Optional(
      Type.Union([Type.Number(), Type.Null()], {
        description: 'It is not needed: push services say when it has passed.',
      }),
    ),
    keys: Type.Object(
      {
        p256dh: Type.String({
          pattern: '^B[A-Za-z0-9_-]{86}$',
          description: 'The public key of the browser, in base64url.',
          examples: ['BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM'],
        }),
        auth: Type.String({
          pattern: '^[A-Za-z0-9_-]{22}$',
          description: 'The secret of the browser, in base64url.',
          examples: ['tBHItJI5svbpez7KI4CCXg'],
        }),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
)

export const Subscription = Type.Object({ id: Id, endpoint: Type.String(), createdAt: Instant })

/**
 * What is wrong with a subscription beyond its shape. An endpoint is an address that this system will send requests to,
 * so it must be one of the public Internet. (What a name leads to is looked at when it is used.)
 *
 * @throws {BadInput}
 */
export function checkSubscription({ endpoint, keys }: Static<typeof NewSubscription>, anywhere: boolean): void {
  const url = URL.parse(endpoint)
  const faults = [
    ...(!url || url.username || url.password ? ['is not a URL without credentials'] : []),
    ...(url && !anywhere && url.protocol !== 'https:' ? ['must begin with https:'] : []),
    ...(url && !anywhere && (LOCAL.test(url.hostname) || !isPublicHost(url.hostname))
      ? ['is not a public address']
      : []),
  ].map((message) => ({ path: '/body/endpoint', message }))
  if (!isOnCurve(keys.p256dh)) faults.push({ path: '/body/keys/p256dh', message: 'is no public key of P-256' })
  if (faults.length > 0) throw new BadInput(contract.name, faults)
}

/**
 * Keeps a subscription. A browser has one at a time, so an endpoint that is known already now belongs to whoever uses it.
 *
 * @throws {TooManySubscriptions} call it with the user's row locked, so that the count holds
 */
export async function keep(tx: Transaction, userId: string, { endpoint, keys }: Static<typeof NewSubscription>) {
  const others = and(eq(subscriptions.userId, userId), ne(subscriptions.endpoint, endpoint))
  const [row] = await tx.select({ count: sql<number>`count(*)::int` }).from(subscriptions).where(others)
  if (row!.count >= PER_USER) throw new contract.errors.TooManySubscriptions()
  const { p256dh, auth } = keys
  const [kept] = await tx
    .insert(subscriptions)
    .values({ userId, endpoint, p256dh, auth })
    .onConflictDoUpdate({ target: subscriptions.endpoint, set: { userId, p256dh, auth } })
    .returning({ id: subscriptions.id, endpoint: subscriptions.endpoint, createdAt: subscriptions.createdAt })
  return kept!
}

function isOnCurve(publicKey: string): boolean {
  try {
    ECDH.convertKey(publicKey, 'prime256v1', 'base64url', 'base64url', 'compressed')
    return true
  } catch {
    return false
  }
}
