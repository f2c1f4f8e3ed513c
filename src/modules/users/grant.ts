import type { ModuleApp } from '../../platform/kit/module.ts'
import { Role } from '../../platform/kit/permissions.ts'
import { eq } from '../../platform/kit/tables.ts'
import type { Accounts } from './accounts.ts'
import type { users as contract } from './contract.ts'
import { lockRoles } from './roles.ts'
import { users } from './tables.ts'

const isRole = (text: string): text is Role => (Role.enum as readonly string[]).includes(text)

/** The operators' way to make somebody an admin: the first one cannot be made over the API. */
export function grantTask(app: ModuleApp<typeof contract>, accounts: Accounts): void {
  app.task({
    name: 'grant',
    usage: '<email> <role>',
    summary: 'Gives a user a role, also in the sessions that are under way.',
    async run([email, role, ...more]) {
      if (!email || !role || more.length > 0) throw new Error('It takes an address and a role.')
      if (!isRole(role)) throw new Error(`There is no role "${role}". Known: ${Role.enum.join(', ')}.`)
      const { id, roles } = await app.db.transaction(async (tx) => {
        await lockRoles(tx)
        const [user] = await tx.select({ id: users.id }).from(users).where(eq(users.email, email.toLowerCase()))
        if (!user) throw new Error(`There is no user with the address ${email}.`)
        const account = await accounts.lock(tx, user.id)
        return accounts.setRoles(tx, account, [...account.roles, role])
      })
      await accounts.shareRoles(id)
      return `${email} is now ${roles.join(', ')}.`
    },
  })
}
