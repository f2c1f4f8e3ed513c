import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Id, Instant, Page, PageQuery, page } from '../../../platform/kit/pages.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import type { Accounts } from '../accounts.ts'
import { users as contract } from '../contract.ts'
import type { SignIns } from '../sign-ins.ts'

const Session = Type.Object(
  {
    id: Id,
    device: Type.Union([Type.String(), Type.Null()], { description: 'What the client called itself.' }),
    address: Type.String({ description: 'The address that it came from.', examples: ['192.0.2.1'] }),
    current: Type.Boolean({ description: 'Whether it is the session of this request.' }),
    createdAt: Instant,
    lastUsedAt: Type.String({ format: 'date-time', description: 'ISO 8601, UTC; to the minute.' }),
  },
  { title: 'Session' },
)

/** Where the caller is signed in. */
export function sessionRoutes(app: ModuleApp<typeof contract>, accounts: Accounts, signIns: SignIns): void {
  app.get(
    '/api/auth/sessions',
    {
      config: { allow: 'user' },
      schema: {
        operationId: 'listSessions',
        summary: "The caller's sessions, newest first",
        querystring: PageQuery,
        response: { 200: Page(Session) },
      },
    },
    async (request, reply) => {
      const { limit, cursor } = request.query
      const { userId, sessionId } = userOf(request)
      const before = cursor === undefined ? undefined : app.cursors.read(cursor)
      const all = await app.sessions.list(userId)
      const rows = all
        .filter(({ id }) => before === undefined || id < before)
        .sort((a, b) => (a.id < b.id ? 1 : -1))
        .slice(0, limit + 1)
        .map((session) => ({ ...session, current: session.id === sessionId }))
      return page(request, reply, { cursors: app.cursors, rows, limit, position: (row) => row.id })
    },
  )

  app.delete(
    '/api/auth/sessions/:id',
    {
      config: { allow: 'user', throws: [contract.errors.SessionNotFound] },
      schema: {
        operationId: 'endSession',
        summary: "End one of the caller's sessions",
        params: Type.Object({ id: Id }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { userId } = userOf(request)
      const sessionId = request.params.id.toLowerCase()
      await app.db.transaction(async (tx) => {
        await accounts.lockIfThere(tx, userId)
        const forgotten = await signIns.forget(tx, { userId, sessionId })
        const ended = await app.sessions.end(userId, sessionId)
        if (!forgotten && !ended) throw new contract.errors.SessionNotFound()
      })
      return reply.code(204).send(null)
    },
  )
}
