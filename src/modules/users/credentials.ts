import type { FastifyRequest } from 'fastify'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, eq, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { Accounts, VersionedAccount } from './accounts.ts'
import { users as contract } from './contract.ts'
import { issueToken, ownerOfToken, redeemToken, revokeTokens } from './one-time-tokens.ts'
import type { Passwords } from './passwords.ts'
import type { SignIn, SignIns } from './sign-ins.ts'
import { resetRequests, users } from './tables.ts'

export type Credentials = ReturnType<typeof credentialsOf>

/**
 * Passwords: signing in with them, changing and forgetting them. No connection is held while one is hashed; so whatever
 * was found out before is looked at again in the transaction.
 */
export function credentialsOf(
  app: ModuleApp<typeof contract>,
  accounts: Accounts,
  signIns: SignIns,
  passwords: Passwords,
) {
  const known = { id: users.id, passwordHash: users.passwordHash }
  const byEmail = app.db
    .select(known)
    .from(users)
    .where(eq(users.email, sql.placeholder('email')))
    .prepare('password_by_email')
  const byId = app.db
    .select(known)
    .from(users)
    .where(eq(users.id, sql.placeholder('id')))
    .prepare('password_by_id')

  /** Locks a user whose password is still the one that was verified. */
  const lockVerified = async (tx: Transaction, { id, passwordHash }: { id: string; passwordHash: string }) => {
    const account = await accounts.lockIfThere(tx, id)
    const [same] = await tx
      .select({ id: users.id })
      .from(users)
      .where(and(eq(users.id, id), eq(users.passwordHash, passwordHash)))
    return same && account
  }

  /** Sets a locked user's password; who asked for a new one before need not have it any more. */
  const setPassword = async (tx: Transaction, id: string, passwordHash: string) => {
    await tx.update(users).set({ passwordHash }).where(eq(users.id, id))
    await revokeTokens(tx, id, 'reset-password')
  }

  const resets = app.sweep({
    name: 'password resets',
    every: 5_000,
    async run() {
      while (await app.db.transaction(takeRequest));
    },
  })

  /** Mails a token to one of those who asked for a new password, if there is such a user; false when nobody asked. */
  const takeRequest = async (tx: Transaction): Promise<boolean> => {
    const [request] = await tx
      .delete(resetRequests)
      .where(sql`email = (select email from reset_requests limit 1 for update skip locked)`)
      .returning({ email: resetRequests.email })
    if (!request) return false
    const { id: userId, email, firstName } = users
    const [user] = await tx
      .select({ userId, email, firstName })
      .from(users)
      .where(eq(email, request.email))
      .for('update')
    if (!user) return true
    const token = await issueToken(tx, user.userId, 'reset-password')
    await app.publish(tx, contract.events.passwordResetRequested, { ...user, token })
    return true
  }

  return {
    /**
     * Signs a user in and starts a session. Where the password was hashed with other parameters than today's, it is
     * hashed again.
     *
     * @throws {WrongCredentials} in the same words and time, whether the address exists or not
     * @throws {Busy}
     */
    async signIn(
      request: FastifyRequest,
      email: string,
      password: string,
    ): Promise<{ account: VersionedAccount; signIn: SignIn }> {
      const [found] = await byEmail.execute({ email: email.toLowerCase() })
      const right = await passwords.verify(password, found?.passwordHash ?? passwords.nobody)
      if (!found || !right) throw new contract.errors.WrongCredentials()
      const better = passwords.isOutdated(found.passwordHash) ? await passwords.hash(password) : undefined
      return app.db.transaction(async (tx) => {
        const account = await lockVerified(tx, found)
        if (!account) throw new contract.errors.WrongCredentials()
        if (better) await tx.update(users).set({ passwordHash: better }).where(eq(users.id, account.id))
        const signIn = await signIns.begin(tx, account)
        await app.sessions.start(request, { userId: account.id, roles: account.roles, sessionId: signIn.sessionId })
        return { account, signIn }
      })
    },

    /**
     * Changes the password of a user who knows it, and ends all their sessions but this one.
     *
     * @throws {WrongPassword}
     * @throws {Busy}
     */
    async changePassword(user: { userId: string; sessionId: string }, from: string, to: string): Promise<void> {
      const [found] = await byId.execute({ id: user.userId })
      if (!found) throw new contract.errors.UserNotFound()
      if (!(await passwords.verify(from, found.passwordHash))) throw new contract.errors.WrongPassword()
      const passwordHash = await passwords.hash(to)
      await app.db.transaction(async (tx) => {
        if (!(await lockVerified(tx, found))) throw new contract.errors.WrongPassword()
        await setPassword(tx, found.id, passwordHash)
        await signIns.endAll(tx, found.id, user.sessionId)
      })
    },

    /**
     * Notes that somebody at this address asks for a new password. Whether there is such a user is looked at later, so
     * that the answer cannot tell, by its time either.
     */
    async askForReset(email: string): Promise<void> {
      await app.db.insert(resetRequests).values({ email: email.toLowerCase() }).onConflictDoNothing()
      resets.wake()
    },

    /**
     * Sets a password with a token that was mailed, and ends all sessions.
     *
     * @throws {TokenInvalid}
     * @throws {Busy}
     */
    async resetPassword(token: string, password: string): Promise<void> {
      const userId = await ownerOfToken(app.db, token, 'reset-password')
      if (userId === undefined) throw new contract.errors.TokenInvalid()
      const passwordHash = await passwords.hash(password)
      await app.db.transaction(async (tx) => {
        await accounts.lockIfThere(tx, userId)
        if (!(await redeemToken(tx, token, 'reset-password'))) throw new contract.errors.TokenInvalid()
        await setPassword(tx, userId, passwordHash)
        await signIns.endAll(tx, userId)
      })
    },

    /**
     * Notes that mail reaches a user, who shows a token from it.
     *
     * @throws {TokenInvalid}
     */
    async verifyEmail(token: string): Promise<void> {
      const userId = await ownerOfToken(app.db, token, 'verify-email')
      if (userId === undefined) throw new contract.errors.TokenInvalid()
      await app.db.transaction(async (tx) => {
        const account = await accounts.lockIfThere(tx, userId)
        if (!account || !(await redeemToken(tx, token, 'verify-email'))) throw new contract.errors.TokenInvalid()
        await accounts.verify(tx, account)
      })
    },
  }
}
