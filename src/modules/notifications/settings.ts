import { Type } from 'typebox'

export const settings = Type.Object({
  SMTP_URL: Type.Optional(
    Type.String({
      pattern: '^smtps?://\\S+$',
      writeOnly: true,
      description: 'Outgoing mail (default: mail is kept in the database and goes nowhere)',
      examples: ['smtp://user:password@mail.example.com:587'],
    }),
  ),
  MAIL_FROM: Type.String({
    default: 'Seam <seam@localhost>',
    pattern: '^[^<>\\r\\n]*<?[^<>\\s@]+@[^<>\\s@]+>?$',
    description: 'The sender of mail',
    examples: ['Seam <hello@example.com>'],
  }),
})
