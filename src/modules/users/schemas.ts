import { type Static, Type } from 'typebox'
import { Id, Instant } from '../../platform/kit/pages.ts'
import { Role } from '../../platform/kit/permissions.ts'
import { PublicUser } from './contract.ts'

export const Email = Type.String({
  format: 'email',
  maxLength: 254,
  description: 'Addresses that differ in case only are one address.',
  examples: ['ada@example.com'],
})
export const Password = Type.String({
  minLength: 8,
  maxLength: 128,
  description: 'Any characters.',
  examples: ['correct horse battery'],
})
/** A password that is only compared: however short it is, it may be tried. */
export const GivenPassword = Type.String({ maxLength: 128, examples: ['correct horse battery'] })
export const Name = Type.String({ minLength: 1, maxLength: 100, pattern: '\\S', examples: ['Ada'] })
export const Token = Type.String({ minLength: 1, maxLength: 128, description: 'As it was given out or mailed.' })
export const Roles = Type.Array(Role, {
  description: '`moderator`: may delete what others wrote. `admin`: may also manage users and send messages.',
  examples: [['member', 'moderator']],
})
export const UserParams = Type.Object({ id: Id })

/** A user as they themselves and admins see them. */
export const Account = Type.Object(
  {
    ...PublicUser.properties,
    email: Type.String({ examples: ['ada@example.com'] }),
    emailVerified: Type.Boolean({ description: 'Whether they have shown that mail to this address reaches them.' }),
    roles: Roles,
    updatedAt: Instant,
  },
  { title: 'Account' },
)
export type Account = Static<typeof Account>

/** What can be changed of a user. */
export const Changes = Type.Partial(Type.Object({ email: Email, firstName: Name, lastName: Name }), {
  additionalProperties: false,
  minProperties: 1,
})
export type Changes = Static<typeof Changes>
