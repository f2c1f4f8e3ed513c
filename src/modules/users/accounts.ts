import type { Static } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import { has, type Identity, Role } from '../../platform/kit/permissions.ts'
import { and, desc, eq, lt, sql, type Transaction } from '../../platform/kit/tables.ts'
import { users as contract, type PublicUser } from './contract.ts'
import { issueToken, revokeTokens } from './one-time-tokens.ts'
import type { Account, Changes } from './schemas.ts'
import { beginsWith, searchable } from './search.ts'
import { users } from './tables.ts'

/** An account with the version that its ETag is made of. */
export type VersionedAccount = Account & { version: number }

interface NewAccount {
  email: string
  passwordHash: string
  firstName: string
  lastName: string
}

export interface Filter {
  q?: string
  role?: Role
  before?: string
  limit: number
}

export type Accounts = ReturnType<typeof accountsOf>

/** The columns that make an account. */
const accountColumns = {
  id: users.id,
  email: users.email,
  emailVerified: users.emailVerified,
  firstName: users.firstName,
  lastName: users.lastName,
  roles: users.roles,
  postCount: users.postCount,
  version: users.version,
  createdAt: users.createdAt,
  updatedAt: users.updatedAt,
}

/**
 * The users of the module's database.
 *
 * Whatever changes a user, their sessions or their tokens locks the user first ({@link Accounts.lock}), so that such
 * changes come one after the other, and never wait for each other in a circle.
 */
export function accountsOf(app: ModuleApp<typeof contract>) {
  const byId = app.db
    .select(accountColumns)
    .from(users)
    .where(eq(users.id, sql.placeholder('id')))
    .prepare('user_by_id')

  const lockIfThere = async (tx: Transaction, id: string): Promise<VersionedAccount | undefined> => {
    const [found] = await tx.select(accountColumns).from(users).where(eq(users.id, id)).for('update')
    return found as VersionedAccount | undefined
  }

  return {
    /** @throws {UserNotFound} */
    async get(id: string): Promise<VersionedAccount> {
      const [found] = await byId.execute({ id })
      if (!found) throw new contract.errors.UserNotFound()
      return found as VersionedAccount
    },

    /** Newest first, `limit` and one more. */
    async list({ q, role, before, limit }: Filter): Promise<VersionedAccount[]> {
      const rows = await app.db
        .select(accountColumns)
        .from(users)
        .where(
          and(
            q === undefined ? undefined : sql`${users.search} @@ ${beginsWith(q)}::tsquery`,
            role && sql`${users.roles} @> array[${role}]`,
            before === undefined ? undefined : lt(users.id, before),
          ),
        )
        .orderBy(desc(users.id))
        .limit(limit + 1)
      return rows as VersionedAccount[]
    },

    /**
     * Holds a user until the transaction ends: nobody else can change them, their sessions or their tokens meanwhile.
     *
     * @throws {UserNotFound}
     */
    async lock(tx: Transaction, id: string): Promise<VersionedAccount> {
      const found = await lockIfThere(tx, id)
      if (!found) throw new contract.errors.UserNotFound()
      return found
    },

    /** Like {@link lock}, where it is no error that the user is gone. */
    lockIfThere,

    /** @throws {EmailTaken} */
    async add(tx: Transaction, { email, passwordHash, firstName, lastName }: NewAccount): Promise<VersionedAccount> {
      const name = { firstName, lastName, email: email.toLowerCase() }
      const [made] = await tx
        .insert(users)
        .values({ ...name, passwordHash, roles: ['member'], search: searchable(name) })
        .onConflictDoNothing({ target: users.email })
        .returning(accountColumns)
      if (!made) throw new contract.errors.EmailTaken()
      const verificationToken = await issueToken(tx, made.id, 'verify-email')
      await app.publish(tx, contract.events.userCreated, { userId: made.id, ...name, verificationToken })
      return made as VersionedAccount
    },

    /**
     * Changes a locked account. A new address is not verified before the token that is mailed to it comes back, and what was
     * mailed to the old one is worthless.
     *
     * @throws {EmailTaken}
     */
    async change(tx: Transaction, account: VersionedAccount, changes: Changes): Promise<VersionedAccount> {
      const { firstName, lastName, email } = { ...account, ...changes }
      const name = { firstName, lastName, email: email.toLowerCase() }
      const moved = name.email !== account.email
      if (moved) await revokeTokens(tx, account.id)
      const changed = await update(tx, account, {
        ...name,
        search: searchable(name),
        ...(moved && { emailVerified: false }),
      }).catch((error) => {
        throw isTaken(error) ? new contract.errors.EmailTaken() : error
      })
      await app.publish(tx, contract.events.userUpdated, {
        userId: account.id,
        ...name,
        ...(moved && { verificationToken: await issueToken(tx, account.id, 'verify-email') }),
      })
      return changed
    },

    /** Notes that mail to a locked account's address reaches its user. */
    async verify(tx: Transaction, account: VersionedAccount): Promise<void> {
      await update(tx, account, { emailVerified: true })
    },

    /**
     * Gives a locked account these roles and no others. In the sessions that are under way it loses at once what it loses;
     * what it gains comes with {@link shareRoles}. Whether it may be is asked in roles.ts.
     */
    async setRoles(tx: Transaction, account: VersionedAccount, roles: readonly Role[]): Promise<VersionedAccount> {
      const ordered = Role.enum.filter((role) => roles.includes(role))
      const changed = await update(tx, account, { roles: ordered })
      const kept = ordered.filter((role) => account.roles.includes(role))
      await app.sessions.setRoles(account.id, kept)
      return changed
    },

    /** Lets the sessions of a user have the roles that the user has: after the commit, which may fail. */
    async shareRoles(id: string): Promise<void> {
      await app.db.transaction(async (tx) => {
        const account = await lockIfThere(tx, id)
        if (account) await app.sessions.setRoles(id, account.roles)
      })
    },

    /** Deletes a locked account, with all its tokens and sessions. */
    async remove(tx: Transaction, { id }: VersionedAccount): Promise<void> {
      await tx.delete(users).where(eq(users.id, id))
      await app.publish(tx, contract.events.userDeleted, { userId: id })
      await app.sessions.endAll(id)
    },
  }
}

async function update(
  tx: Transaction,
  { id, version }: VersionedAccount,
  changes: Partial<typeof users.$inferInsert>,
): Promise<VersionedAccount> {
  const [changed] = await tx
    .update(users)
    .set({ ...changes, version: version + 1, updatedAt: sql`now()` })
    .where(eq(users.id, id))
    .returning(accountColumns)
  return changed as VersionedAccount
}

/** Whether PostgreSQL refused an address that somebody else has. */
function isTaken(error: Error): boolean {
  return (error.cause as { constraint_name?: string } | undefined)?.constraint_name === 'users_email'
}

/** What everybody may see of a user. */
export function publicPart({ id, firstName, lastName, postCount, createdAt }: Account): Static<typeof PublicUser> {
  return { id, firstName, lastName, postCount, createdAt }
}

/** Whether somebody may see all of a user. */
export function seesAll(viewer: Identity | null, account: Account): boolean {
  return viewer?.userId === account.id || has(viewer, contract.permissions.seeUsers)
}
