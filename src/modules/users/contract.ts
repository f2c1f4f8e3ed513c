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

const UserCreated = Type.Object({
  userId: Id,
  email: Type.String({ format: 'email' }),
  firstName: Type.String(),
  lastName: Type.String(),
})

export const users = defineContract('users', {
  routes: ['/api/auth', '/api/users', '/api/profile'],
  errors: {
    UserNotFound: { status: 404, message: 'There is no such user.' },
    EmailTaken: { status: 409, message: 'There is an account with this address already.' },
    WrongCredentials: { status: 401, message: 'The address or the password is wrong.' },
  },
  procedures: {
    getUser: query({ input: Type.Object({ id: Id }), output: PublicUser, throws: ['UserNotFound'] }),
  },
  events: {
    userCreated: event('user.created', { version: 1, key: 'userId', data: UserCreated }),
  },
})
