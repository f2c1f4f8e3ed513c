import type { Static } from 'typebox'
import type { ModuleApp } from '../../platform/kit/module.ts'
import type { Identity } from '../../platform/kit/permissions.ts'
import { eq, newId, sql } from '../../platform/kit/tables.ts'
import { users as contract, type PublicUser } from './contract.ts'
import { hashPassword, NOBODY, verifyPassword } from './passwords.ts'
import { users } from './tables.ts'

/** A user with what only they themselves and admins may see. */
export type Account = Static<typeof PublicUser> & { email: string; roles: Identity['roles'] }

export interface Registration {
  email: string
  password: string
  firstName: string
  lastName: string
}

export type Accounts = ReturnType<typeof accountsOf>

/** The users of the module's database. */
export function accountsOf(app: ModuleApp<typeof contract>) {
  const columns = {
    id: users.id,
    email: users.email,
    firstName: users.firstName,
    lastName: users.lastName,
    roles: users.roles,
    postCount: users.postCount,
    createdAt: users.createdAt,
  }
  const byId = app.db
    .select(columns)
    .from(users)
    .where(eq(users.id, sql.placeholder('id')))
    .prepare('user_by_id')
  const byEmail = app.db
    .select({ ...columns, passwordHash: users.passwordHash })
    .from(users)
    .where(eq(users.email, sql.placeholder('email')))
    .prepare('user_by_email')

  return {
    /** @throws {UserNotFound} */
    async get(id: string): Promise<Account> {
      const [found] = await byId.execute({ id })
      if (!found) throw new contract.errors.UserNotFound()
      return found as Account
    },

    /** @throws {EmailTaken} */
    async register({ email, password, firstName, lastName }: Registration): Promise<Account> {
      const passwordHash = await hashPassword(password)
      return app.db.transaction(async (tx) => {
        const [made] = await tx
          .insert(users)
          .values({ id: newId(), email: email.toLowerCase(), passwordHash, firstName, lastName, roles: ['member'] })
          .onConflictDoNothing({ target: users.email })
          .returning(columns)
        if (!made) throw new contract.errors.EmailTaken()
        await app.publish(tx, contract.events.userCreated, {
          userId: made.id,
          email: made.email,
          firstName,
          lastName,
          verificationToken: newId(),
        })
        return made as Account
      })
    },

    /** @throws {WrongCredentials} in the same words and time, whether the address exists or not */
    async authenticate(email: string, password: string): Promise<Account> {
      const [found] = await byEmail.execute({ email: email.toLowerCase() })
      const right = await verifyPassword(password, found?.passwordHash ?? NOBODY)
      if (!found || !right) throw new contract.errors.WrongCredentials()
      const { passwordHash: _secret, ...account } = found
      return account as Account
    },
  }
}

/** What everybody may see of a user. */
export function publicPart({ id, firstName, lastName, postCount, createdAt }: Account): Static<typeof PublicUser> {
  return { id, firstName, lastName, postCount, createdAt }
}
