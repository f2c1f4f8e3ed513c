import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, eq, isNull, lt, sql, type Transaction } from '../../platform/kit/tables.ts'
import { notifications as contract } from './contract.ts'
import { DEFAULT_KINDS, type Preferences } from './kinds.ts'
import { idempotencyKeys, notifications, outgoing, recipients, subscriptions } from './tables.ts'

export type Recipient = typeof recipients.$inferSelect
export type Recipients = ReturnType<typeof recipientsOf>

/** Whom to tell, where and how: what this module keeps of users. All of it is their personal data. */
export function recipientsOf(app: ModuleApp<typeof contract>) {
  const byId = app.db
    .select()
    .from(recipients)
    .where(eq(recipients.userId, sql.placeholder('userId')))
    .prepare('recipient_by_id')

  /** The user's row, locked; made if need be. */
  const locked = async (tx: Transaction, userId: string): Promise<Recipient> => {
    await tx.insert(recipients).values({ userId }).onConflictDoNothing()
    const [found] = await tx.select().from(recipients).where(eq(recipients.userId, userId)).for('update')
    return found!
  }

  return {
    /** The user, locked until the transaction ends. @throws {RecipientUnknown} when the account is gone */
    async lock(tx: Transaction, userId: string): Promise<Recipient> {
      const found = await locked(tx, userId)
      if (found.deletedAt) throw new contract.errors.RecipientUnknown()
      return found
    },

    /** Whether the account is gone; if not, it stays so until the transaction ends. */
    async isGone(tx: Transaction, userId: string): Promise<boolean> {
      return (await locked(tx, userId)).deletedAt !== null
    },

    async get(userId: string): Promise<Recipient | undefined> {
      const [found] = await byId.execute({ userId })
      return found
    },

    /** Notes what an event of the users module says, unless a later one was first, or the account is gone. */
    async remember(tx: Transaction, userId: string, told: Pick<Recipient, 'email' | 'firstName' | 'sequence'>) {
      await tx
        .insert(recipients)
        .values({ userId, ...told })
        .onConflictDoUpdate({
          target: recipients.userId,
          set: told,
          setWhere: and(lt(recipients.sequence, told.sequence), isNull(recipients.deletedAt))!,
        })
    },

    /**
     * Counts one more notification of a user.
     *
     * @returns the user as known, `notified` being the notification's number; undefined when the account is gone
     */
    async count(tx: Transaction, userId: string): Promise<Recipient | undefined> {
      const [found] = await tx
        .insert(recipients)
        .values({ userId, notified: 1 })
        .onConflictDoUpdate({
          target: recipients.userId,
          set: { notified: sql`${recipients.notified} + 1` },
          setWhere: isNull(recipients.deletedAt),
        })
        .returning()
      return found
    },

    /** What a user wants, and its version; 0 as long as they have not said anything. */
    async setPreferences(tx: Transaction, { userId, version }: Recipient, { phone, kinds }: Preferences) {
      const set = { phone, kinds, version: version + 1 }
      const [row] = await tx.update(recipients).set(set).where(eq(recipients.userId, userId)).returning()
      return row!
    },

    /** Removes everything of a user's but an empty row, which keeps late events from making anything new. */
    async forget(tx: Transaction, userId: string): Promise<void> {
      const { email } = await locked(tx, userId)
      await tx.delete(notifications).where(eq(notifications.userId, userId))
      await tx.delete(subscriptions).where(eq(subscriptions.userId, userId))
      await tx.delete(idempotencyKeys).where(eq(idempotencyKeys.caller, userId))
      await tx.delete(outgoing).where(eq(outgoing.userId, userId))
      // What goes to a user belongs to that user: somebody else may have the address by now.
      if (email)
        await tx
          .delete(outgoing)
          .where(and(isNull(outgoing.userId), sql`lower(${outgoing.to}) = ${email.toLowerCase()}`))
      const nothing = { email: null, firstName: null, phone: null, kinds: null, deletedAt: sql`now()` }
      await tx.update(recipients).set(nothing).where(eq(recipients.userId, userId))
    },
  }
}

/** A user's preferences, or what holds for those who have not said anything. */
export function preferencesOf(recipient: Recipient | undefined): Preferences {
  return { phone: recipient?.phone ?? null, kinds: recipient?.kinds ?? DEFAULT_KINDS }
}
