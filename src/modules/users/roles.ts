import type { Role } from '../../platform/kit/permissions.ts'
import { and, ne, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { VersionedAccount } from './accounts.ts'
import { users as contract } from './contract.ts'
import { users } from './tables.ts'

/**
 * Holds all who want to give or take roles, or delete a user, until the transaction ends: otherwise two admins could take
 * the role from each other at the same moment. Comes before any other lock.
 */
export async function lockRoles(tx: Transaction): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('users.roles', 0))`)
}

/**
 * Somebody must be an admin, also when this user has these roles only. Ask it after {@link lockRoles}.
 *
 * @throws {LastAdmin}
 */
export async function ensureAnAdmin(tx: Transaction, account: VersionedAccount, roles: readonly Role[]): Promise<void> {
  if (!account.roles.includes('admin') || roles.includes('admin')) return
  const [other] = await tx
    .select({ id: users.id })
    .from(users)
    .where(and(sql`${users.roles} @> array['admin']`, ne(users.id, account.id)))
    .limit(1)
  if (!other) throw new contract.errors.LastAdmin()
}
