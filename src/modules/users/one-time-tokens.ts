import type { Database, Transaction } from '../../platform/kit/tables.ts'
import { and, eq, gt, sql } from '../../platform/kit/tables.ts'
import { hashOf, newToken } from './secrets.ts'
import { oneTimeTokens } from './tables.ts'

export type Purpose = 'verify-email' | 'reset-password'

/** How long a token is good, in hours: whoever can read a mailbox can set a password, so that is short. */
const HOURS: Record<Purpose, number> = { 'verify-email': 7 * 24, 'reset-password': 1 }

/** Makes a token that is mailed to a user. */
export async function issueToken(tx: Transaction, userId: string, purpose: Purpose): Promise<string> {
  const token = newToken()
  const expiresAt = sql<string>`now() + make_interval(hours => ${HOURS[purpose]})`
  await tx.insert(oneTimeTokens).values({ hash: hashOf(token), userId, purpose, expiresAt })
  return token
}

const good = (token: string, purpose: Purpose) =>
  and(
    eq(oneTimeTokens.hash, hashOf(token)),
    eq(oneTimeTokens.purpose, purpose),
    gt(oneTimeTokens.expiresAt, sql`now()`),
  )

/** Whose token it is; undefined when it is not good, or not any more. */
export async function ownerOfToken(db: Database, token: string, purpose: Purpose): Promise<string | undefined> {
  const [found] = await db.select({ userId: oneTimeTokens.userId }).from(oneTimeTokens).where(good(token, purpose))
  return found?.userId
}

/** Uses a token up. False when it is not good, or not any more. */
export async function redeemToken(tx: Transaction, token: string, purpose: Purpose): Promise<boolean> {
  const used = await tx.delete(oneTimeTokens).where(good(token, purpose)).returning({ userId: oneTimeTokens.userId })
  return used.length > 0
}

/** Makes the tokens of a user worthless: all, or those for one purpose. */
export async function revokeTokens(tx: Transaction, userId: string, purpose?: Purpose): Promise<void> {
  await tx
    .delete(oneTimeTokens)
    .where(and(eq(oneTimeTokens.userId, userId), purpose && eq(oneTimeTokens.purpose, purpose)))
}
