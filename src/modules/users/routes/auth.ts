import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { userOf } from '../../../platform/kit/permissions.ts'
import type { Accounts, VersionedAccount } from '../accounts.ts'
import { users as contract } from '../contract.ts'
import type { Credentials } from '../credentials.ts'
import type { Passwords } from '../passwords.ts'
import { Account, Email, GivenPassword, Name, Password, Token } from '../schemas.ts'
import type { SignIn, SignIns } from '../sign-ins.ts'
import { accountOf } from './limits.ts'

const Registration = Type.Object(
  { email: Email, password: Password, firstName: Name, lastName: Name },
  { additionalProperties: false },
)
const GivenCredentials = Type.Object({ email: Email, password: GivenPassword }, { additionalProperties: false })
const Refresh = Type.Object({ refreshToken: Token }, { additionalProperties: false })

const SignedIn = Type.Object(
  {
    user: Account,
    token: Type.String({ description: 'For `Authorization: Bearer …`.' }),
    refreshToken: Type.String({ description: 'Good once, within 7 days, for `POST /api/auth/refresh`.' }),
    expiresIn: Type.Integer({ description: 'How long `token` is good, in seconds.', examples: [3600] }),
  },
  { title: 'SignedIn' },
)

const answer = (user: VersionedAccount, { token, refreshToken, expiresIn }: SignIn) => {
  return { user, token, refreshToken, expiresIn }
}

/** Registration, login and what keeps a sign-in going: all answer with tokens and set the session's cookie. */
export function authRoutes(
  app: ModuleApp<typeof contract>,
  accounts: Accounts,
  signIns: SignIns,
  credentials: Credentials,
  passwords: Passwords,
): void {
  const { EmailTaken, WrongCredentials, RefreshRefused, Busy } = contract.errors

  app.post(
    '/api/auth/register',
    {
      config: { allow: 'anyone', throws: [EmailTaken, Busy], idempotent: true, limit: { account: accountOf } },
      schema: {
        operationId: 'register',
        summary: 'Make an account',
        description: 'The user is signed in at once, and gets a mail with a token that verifies the address.',
        body: Registration,
        response: { 201: SignedIn },
      },
    },
    async (request, reply) => {
      const { password, ...person } = request.body
      const passwordHash = await passwords.hash(password)
      const { user, signIn } = await app.once(request, reply, async (tx) => {
        const user = await accounts.add(tx, { ...person, passwordHash })
        return { user, signIn: await signIns.begin(tx, user) }
      })
      await app.db.transaction((tx) => signIns.start(tx, request, user.id, signIn.sessionId))
      return reply.code(201).header('location', `/api/users/${user.id}`).send(answer(user, signIn))
    },
  )

  app.post(
    '/api/auth/login',
    {
      config: { allow: 'anyone', throws: [WrongCredentials, Busy], limit: { account: accountOf } },
      schema: { operationId: 'login', summary: 'Sign in', body: GivenCredentials, response: { 200: SignedIn } },
    },
    async (request) => {
      const { account, signIn } = await credentials.signIn(request, request.body.email, request.body.password)
      return answer(account, signIn)
    },
  )

  app.post(
    '/api/auth/refresh',
    {
      config: { allow: 'anyone', throws: [RefreshRefused], limit: {} },
      schema: {
        operationId: 'refresh',
        summary: 'Exchange a refresh token for new tokens',
        description: 'A refresh token is good once. One that comes again has been stolen: the whole sign-in ends.',
        body: Refresh,
        response: { 200: SignedIn },
      },
    },
    async (request) => {
      const { account, signIn } = await signIns.refresh(request, request.body.refreshToken)
      return answer(account, signIn)
    },
  )

  app.post(
    '/api/auth/logout',
    {
      config: { allow: 'user' },
      schema: {
        operationId: 'logout',
        summary: 'Sign out',
        description: 'Ends the session and makes its tokens worthless.',
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const identity = userOf(request)
      await app.db.transaction(async (tx) => {
        await accounts.lockIfThere(tx, identity.userId)
        await signIns.forget(tx, identity)
        await app.sessions.stop(request, reply)
      })
      return reply.code(204).send(null)
    },
  )
}
