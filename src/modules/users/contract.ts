import { Type } from 'typebox'
import { defineContract, event, query } from '../../platform/kit/contract.ts'
import { Id, Instant } from '../../platform/kit/pages.ts'

/** A user as everybody may see them. */
export const PublicUser = Type.Object({
  id: Id,
  firstName: Type.String(),
  lastName: Type.String(),
  postCount: Type.Integer({ minimum: 0 }),
  createdAt: Instant,
})

const Email = Type.String({ format: 'email' })
const Names = { firstName: Type.String(), lastName: Type.String() }

export const users = defineContract('users', {
  routes: ['/api/auth', '/api/users', '/api/profile'],
  errors: {
    UserNotFound: { status: 404, message: 'There is no such user.' },
    EmailTaken: { status: 409, message: 'There is an account with this address already.' },
    WrongCredentials: { status: 401, message: 'The address or the password is wrong.' },
    WrongPassword: { status: 403, message: 'The current password is wrong.' },
    TokenInvalid: { status: 400, message: 'This token is not valid, or not any more. Ask for a new one.' },
    RefreshRefused: { status: 401, message: 'The refresh token is not valid, or not any more. Sign in again.' },
    SessionNotFound: { status: 404, message: 'There is no such session.' },
    LastAdmin: { status: 409, message: 'Somebody must be an admin: make another one first.' },
    Busy: { status: 503, message: 'Too many people are signing in at the moment.' },
  },
  procedures: {
    getUser: query({ input: Type.Object({ id: Id }), output: PublicUser, throws: ['UserNotFound'] }),
  },
  events: {
    /** Has the token of the address-verification link, for the welcome mail. */
    userCreated: event('user.created', {
      version: 1,
      key: 'userId',
      data: Type.Object({ userId: Id, email: Email, ...Names, verificationToken: Type.String() }),
    }),
    /** Has a token, as for a new user, when the address is a new one. */
    userUpdated: event('user.updated', {
      version: 1,
      key: 'userId',
      data: Type.Object({ userId: Id, email: Email, ...Names, verificationToken: Type.Optional(Type.String()) }),
    }),
    userDeleted: event('user.deleted', { version: 1, key: 'userId', data: Type.Object({ userId: Id }) }),
    passwordResetRequested: event('user.password-reset-requested', {
      version: 1,
      key: 'userId',
      data: Type.Object({ userId: Id, email: Email, firstName: Type.String(), token: Type.String() }),
    }),
  },
  permissions: {
    /** List and search users, and see what is not public of them. */
    seeUsers: ['admin'],
    /** Change and delete the accounts of others. */
    manageUsers: ['admin'],
    grantRoles: ['admin'],
  },
})
