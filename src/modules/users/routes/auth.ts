import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { Role } from '../../../platform/kit/permissions.ts'
import { newId } from '../../../platform/kit/tables.ts'
import type { Account, Accounts } from '../accounts.ts'
import { PublicUser, type users } from '../contract.ts'

const Email = Type.String({ format: 'email', maxLength: 254, examples: ['ada@example.com'] })
const Password = Type.String({ minLength: 8, maxLength: 128, examples: ['correct horse battery'] })
const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '\\S', examples: ['Ada'] })

const Registration = Type.Object(
  { email: Email, password: Password, firstName: Name, lastName: Name },
  { additionalProperties: false },
)
const Credentials = Type.Object(
  { email: Email, password: Type.String({ maxLength: 128 }) },
  { additionalProperties: false },
)

const SignedIn = Type.Object({
  user: Type.Object({ ...PublicUser.properties, email: Type.String(), roles: Type.Array(Role) }),
  token: Type.String({ description: 'For `Authorization: Bearer …`.' }),
  expiresIn: Type.Integer({ description: 'Seconds.' }),
})

/** Registration and login: both answer with a bearer token and start a session. */
export function authRoutes(app: ModuleApp<typeof users>, accounts: Accounts): void {
  const signIn = async (request: FastifyRequest, { id, roles }: Account) => {
    const identity = { userId: id, roles, sessionId: newId() }
    await app.sessions.start(request, identity)
    return app.sessions.token(identity)
  }

  app.post(
    '/api/auth/register',
    {
      config: { allow: 'anyone' },
      schema: { operationId: 'register', summary: 'Make an account', body: Registration, response: { 201: SignedIn } },
    },
    async (request, reply) => {
      const user = await accounts.register(request.body)
      return reply.code(201).send({ user, ...(await signIn(request, user)) })
    },
  )

  app.post(
    '/api/auth/login',
    {
      config: { allow: 'anyone' },
      schema: { operationId: 'login', summary: 'Sign in', body: Credentials, response: { 200: SignedIn } },
    },
    async (request) => {
      const user = await accounts.authenticate(request.body.email, request.body.password)
      return { user, ...(await signIn(request, user)) }
    },
  )
}
