import { Type } from 'typebox'
import type { ModuleApp } from '../../../platform/kit/module.ts'
import { users as contract } from '../contract.ts'
import type { Credentials } from '../credentials.ts'
import { Email, Password, Token } from '../schemas.ts'
import { accountOf } from './limits.ts'

/** What is done with tokens that came by mail. */
export function recoveryRoutes(app: ModuleApp<typeof contract>, credentials: Credentials): void {
  const { TokenInvalid, Busy } = contract.errors

  app.post(
    '/api/auth/verify-email',
    {
      config: { allow: 'anyone', throws: [TokenInvalid], limit: {} },
      schema: {
        operationId: 'verifyEmail',
        summary: 'Show that mail reaches one',
        description: 'With the token from the welcome mail: good once, within 7 days.',
        body: Type.Object({ token: Token }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await credentials.verifyEmail(request.body.token)
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/api/auth/forgot-password',
    {
      config: { allow: 'anyone', limit: { account: accountOf } },
      schema: {
        operationId: 'forgotPassword',
        summary: 'Ask for a mail with which a new password can be set',
        description: 'The answer is the same whether there is an account with this address or not.',
        body: Type.Object({ email: Email }, { additionalProperties: false }),
        response: { 202: Type.Object({}, { description: 'The same for everybody.' }) },
      },
    },
    async (request, reply) => {
      await credentials.askForReset(request.body.email)
      return reply.code(202).send({})
    },
  )

  app.post(
    '/api/auth/reset-password',
    {
      config: { allow: 'anyone', throws: [TokenInvalid, Busy], limit: {} },
      schema: {
        operationId: 'resetPassword',
        summary: 'Set a new password with the token from a mail',
        description: 'The token is good once, within an hour. All sessions of the user end.',
        body: Type.Object({ token: Token, password: Password }, { additionalProperties: false }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      await credentials.resetPassword(request.body.token, request.body.password)
      return reply.code(204).send(null)
    },
  )
}
