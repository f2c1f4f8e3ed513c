import { Type } from 'typebox'

export const settings = Type.Object({
  PASSWORD_MEMORY: Type.Integer({
    default: 19_456,
    minimum: 64,
    maximum: 1_048_576,
    description:
      'Memory in KiB for the hash of a password (Argon2id, two passes); what is less than the default is too weak for real users',
    examples: ['47104'],
  }),
})
