import { Type } from 'typebox'
import { ensureMatch, etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Resource } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import type { Accounts } from '../accounts.ts'
import { users as contract } from '../contract.ts'
import type { Credentials } from '../credentials.ts'
import { Account, Changes, GivenPassword, Password } from '../schemas.ts'

/** The caller's own account. */
export function profileRoutes(app: ModuleApp<typeof contract>, accounts: Accounts, credentials: Credentials): void {
  const { UserNotFound, EmailTaken, WrongPassword, Busy } = contract.errors

  app.get(
    '/api/profile',
    {
      config: { allow: 'user', throws: [UserNotFound], etag: true },
      schema: { operationId: 'getProfile', summary: "The caller's account", response: { 200: Resource(Account) } },
    },
    async (request, reply) => {
      const account = await accounts.get(userOf(request).userId)
      return resource(request, reply, account, etagOf(account.version))
    },
  )

  app.patch(
    '/api/profile',
    {
      config: { allow: 'user', throws: [UserNotFound, EmailTaken], etag: true },
      schema: {
        operationId: 'changeProfile',
        summary: "Change the caller's account",
        description: 'A new address is not verified.',
        body: Changes,
        response: { 200: Resource(Account) },
      },
    },
    async (request, reply) => {
      const changed = await app.db.transaction(async (tx) => {
        const account = await accounts.lock(tx, userOf(request).userId)
        ensureMatch(request, etagOf(account.version))
        return accounts.change(tx, account, request.body)
      })
      return resource(request, reply, changed, etagOf(changed.version))
    },
  )

  app.post(
    '/api/profile/password',
    {
      config: {
        allow: 'user',
        throws: [UserNotFound, WrongPassword, Busy],
        limit: { account: (request) => request.identity?.userId },
      },
      schema: {
        operationId: 'changePassword',
        summary: "Change the caller's password",
        description: 'All other sessions of the caller end.',
        body: Type.Object({ currentPassword: GivenPassword, password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { currentPassword, password } = request.body
      await credentials.changePassword(userOf(request), currentPassword, password)
      return reply.code(204).send(null)
    },
  )
}
