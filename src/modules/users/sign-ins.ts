import type { FastifyRequest } from 'fastify'
import type { ModuleApp } from '../../platform/kit/module.ts'
import type { Identity } from '../../platform/kit/permissions.ts'
import { and, eq, gt, isNull, ne, newId, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { Accounts, VersionedAccount } from './accounts.ts'
import { users as contract } from './contract.ts'
import { hashOf, newToken } from './secrets.ts'
import { refreshTokens } from './tables.ts'

/** What a client needs to go on as a user. */
export interface SignIn {
  sessionId: string
  token: string
  /** Seconds. */
  expiresIn: number
  refreshToken: string
}

export type SignIns = ReturnType<typeof signInsOf>

/**
 * Sign-ins: each is a session and its family of refresh tokens. Sessions are ended before the transaction is committed
 * that takes their tokens: when they cannot be ended, nothing has happened.
 */
export function signInsOf(app: ModuleApp<typeof contract>, accounts: Accounts) {
  const byHash = app.db
    .select({ userId: refreshTokens.userId, sessionId: refreshTokens.sessionId })
    .from(refreshTokens)
    .where(eq(refreshTokens.hash, sql.placeholder('hash')))
    .prepare('refresh_token_by_hash')

  const issue = async (tx: Transaction, identity: Identity): Promise<SignIn> => {
    const { userId, sessionId } = identity
    const refreshToken = newToken()
    await tx.insert(refreshTokens).values({ hash: hashOf(refreshToken), userId, sessionId })
    return { sessionId, refreshToken, ...app.sessions.token(identity) }
  }

  const forget = async (tx: Transaction, { userId, sessionId }: Omit<Identity, 'roles'>): Promise<boolean> => {
    const gone = await tx
      .delete(refreshTokens)
      .where(and(eq(refreshTokens.userId, userId), eq(refreshTokens.sessionId, sessionId)))
      .returning({ hash: refreshTokens.hash })
    return gone.length > 0
  }

  return {
    /** Makes the tokens of a new sign-in; its session is still to be started. */
    begin(tx: Transaction, { id, roles }: VersionedAccount): Promise<SignIn> {
      return issue(tx, { userId: id, roles, sessionId: newId() })
    },

    /** Starts the session of a sign-in, unless it has been ended since. */
    async start(tx: Transaction, request: FastifyRequest, userId: string, sessionId: string): Promise<void> {
      const account = await accounts.lockIfThere(tx, userId)
      const family = await tx
        .select({ hash: refreshTokens.hash })
        .from(refreshTokens)
        .where(and(eq(refreshTokens.userId, userId), eq(refreshTokens.sessionId, sessionId)))
        .limit(1)
      if (account && family.length > 0) await app.sessions.start(request, { userId, roles: account.roles, sessionId })
    },

    /**
     * Exchanges a refresh token for new tokens, with the user's present roles, and makes the session last longer. A token
     * that was used before is in two hands, so the whole sign-in ends.
     *
     * @throws {RefreshRefused}
     */
    async refresh(
      request: FastifyRequest,
      refreshToken: string,
    ): Promise<{ account: VersionedAccount; signIn: SignIn }> {
      const hash = hashOf(refreshToken)
      const [known] = await byHash.execute({ hash })
      if (!known) throw new contract.errors.RefreshRefused()
      const { userId, sessionId } = known
      const refreshed = await app.db.transaction(async (tx) => {
        const account = await accounts.lockIfThere(tx, userId)
        if (!account) return undefined
        const used = await tx
          .update(refreshTokens)
          .set({ usedAt: sql`now()` })
          .where(
            and(eq(refreshTokens.hash, hash), isNull(refreshTokens.usedAt), gt(refreshTokens.expiresAt, sql`now()`)),
          )
          .returning({ hash: refreshTokens.hash })
        if (used.length === 0) {
          await forget(tx, known)
          await app.sessions.end(userId, sessionId)
          return undefined
        }
        const identity = { userId, sessionId, roles: account.roles }
        await app.sessions.start(request, identity)
        return { account, signIn: await issue(tx, identity) }
      })
      if (!refreshed) throw new contract.errors.RefreshRefused()
      return refreshed
    },

    /** Takes the tokens of one sign-in; false when there are none. Its session is still to be ended. */
    forget,

    /** Ends all sign-ins of a locked user, except one if its session is named. */
    async endAll(tx: Transaction, userId: string, except?: string): Promise<void> {
      await tx
        .delete(refreshTokens)
        .where(
          and(eq(refreshTokens.userId, userId), except === undefined ? undefined : ne(refreshTokens.sessionId, except)),
        )
      await app.sessions.endAll(userId, except)
    },
  }
}
