import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Resource } from '../../../platform/kit/pages.ts'
import { Role } from '../../../platform/kit/permissions.ts'
import { type Accounts, publicPart } from '../accounts.ts'
import { PublicUser, type users } from '../contract.ts'

const User = Type.Object({
  ...PublicUser.properties,
  email: Type.Optional(Type.String({ description: 'For oneself and admins only.' })),
  roles: Type.Optional(Type.Array(Role, { description: 'For oneself and admins only.' })),
})

export function userRoutes(app: ModuleApp<typeof users>, accounts: Accounts): void {
  app.get(
    '/api/users/:id',
    {
      config: { allow: 'anyone' },
      schema: {
        operationId: 'getUser',
        summary: 'A user',
        params: Type.Object({ id: Id }),
        response: { 200: Resource(User) },
      },
    },
    async ({ params, identity }) => {
      const account = await accounts.get(params.id)
      const all = identity?.userId === account.id || identity?.roles.includes('admin')
      return { data: all ? account : publicPart(account) }
    },
  )
}
