import { Type } from 'typebox'
import { ensureMatch, etagOf, resource } from '../../../platform/kit/etags.ts'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Page, PageQuery, page, Resource } from '../../../platform/kit/pages.ts'
import { ensureOwner, type Identity, Role, userOf } from '../../../platform/kit/permissions.ts'
import { type Accounts, publicPart, seesAll, type VersionedAccount } from '../accounts.ts'
import { users as contract, PublicUser } from '../contract.ts'
import { ensureAnAdmin, lockRoles } from '../roles.ts'
import { Account, Changes, Roles, UserParams } from '../schemas.ts'

const { email, emailVerified, roles, updatedAt } = Account.properties
const User = Type.Object(
  { ...PublicUser.properties, ...Type.Partial(Type.Object({ email, emailVerified, roles, updatedAt })).properties },
  { title: 'User', description: '`email`, `emailVerified`, `roles` and `updatedAt` are for oneself and admins only.' },
)

const Filter = Type.Object(
  {
    ...PageQuery.properties,
    q: Type.Optional(
      Type.String({
        maxLength: 100,
        pattern: '[\\p{L}\\p{N}]',
        description: 'For each word in it, a word of the name or of the address must begin with it.',
        examples: ['ada love'],
      }),
    ),
    role: Type.Optional(Type.Enum(Role.enum, { description: 'Only those who have this role.' })),
  },
  { additionalProperties: false },
)

/** A user as this viewer sees them, and the ETag of what they see. */
const seen = (viewer: Identity | null, account: VersionedAccount) =>
  seesAll(viewer, account)
    ? ([account, etagOf(account.version)] as const)
    : ([publicPart(account), etagOf(account.version, 'public')] as const)

/** All users: looked at by anybody, changed by themselves and by admins. */
export function userRoutes(app: ModuleApp<typeof contract>, accounts: Accounts): void {
  const { UserNotFound, EmailTaken, LastAdmin } = contract.errors
  const { seeUsers, manageUsers, grantRoles } = contract.permissions

  app.get(
    '/api/users',
    {
      config: { allow: { permission: seeUsers } },
      schema: {
        operationId: 'listUsers',
        summary: 'All users, newest first',
        querystring: Filter,
        response: { 200: Page(Account) },
      },
    },
    async (request, reply) => {
      const { cursor, ...filter } = request.query
      const before = cursor === undefined ? {} : { before: app.cursors.read(cursor) }
      const rows = await accounts.list({ ...filter, ...before })
      return page(request, reply, { cursors: app.cursors, rows, limit: filter.limit, position: (user) => user.id })
    },
  )

  app.get(
    '/api/users/:id',
    {
      config: { allow: 'anyone', throws: [UserNotFound], etag: true },
      schema: { operationId: 'getUser', summary: 'A user', params: UserParams, response: { 200: Resource(User) } },
    },
    async (request, reply) =>
      resource(request, reply, ...seen(request.identity, await accounts.get(request.params.id))),
  )

  app.patch(
    '/api/users/:id',
    {
      config: { allow: { owner: true, permission: manageUsers }, throws: [UserNotFound, EmailTaken], etag: true },
      schema: {
        operationId: 'changeUser',
        summary: 'Change a user',
        description: 'A new address is not verified.',
        params: UserParams,
        body: Changes,
        response: { 200: Resource(User) },
      },
    },
    async (request, reply) => {
      const changed = await app.db.transaction(async (tx) => {
        const account = await accounts.lock(tx, request.params.id)
        ensureMatch(request, seen(ensureOwner(request, account.id), account)[1])
        return accounts.change(tx, account, request.body)
      })
      return resource(request, reply, ...seen(request.identity, changed))
    },
  )

  app.delete(
    '/api/users/:id',
    {
      config: { allow: { owner: true, permission: manageUsers }, throws: [UserNotFound, LastAdmin], etag: true },
      schema: {
        operationId: 'deleteUser',
        summary: 'Delete a user',
        description: 'What they wrote, and what was sent to them, is deleted soon after. Their address is free again.',
        params: UserParams,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await app.db.transaction(async (tx) => {
        await lockRoles(tx)
        const account = await accounts.lock(tx, request.params.id)
        ensureMatch(request, seen(ensureOwner(request, account.id), account)[1])
        await ensureAnAdmin(tx, account, [])
        await accounts.remove(tx, account)
      })
      return reply.code(204).send(null)
    },
  )

  app.put(
    '/api/users/:id/roles',
    {
      config: { allow: { permission: grantRoles }, throws: [UserNotFound, LastAdmin], etag: true },
      schema: {
        operationId: 'setRoles',
        summary: 'Give a user these roles and no others',
        description: 'It takes effect in the sessions that are under way, too.',
        params: UserParams,
        body: Type.Object(
          { roles: Type.Array(Role, { ...Roles, minItems: 1, maxItems: 3, uniqueItems: true }) },
          { additionalProperties: false },
        ),
        response: { 200: Resource(User) },
      },
    },
    async (request, reply) => {
      const changed = await app.db.transaction(async (tx) => {
        await lockRoles(tx)
        const account = await accounts.lock(tx, request.params.id)
        ensureMatch(request, seen(userOf(request), account)[1])
        await ensureAnAdmin(tx, account, request.body.roles)
        return accounts.setRoles(tx, account, request.body.roles)
      })
      await accounts.shareRoles(changed.id)
      return resource(request, reply, ...seen(request.identity, changed))
    },
  )
}
