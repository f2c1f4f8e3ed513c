import { Type } from 'typebox'

export const settings = Type.Object({
  APP_URL: Type.String({
    default: 'http://127.0.0.1:8000',
    pattern: '^https?://[^\\s?#]+$',
    description: 'Where the links in mails lead: `<APP_URL>/verify-email?token=…`, `<APP_URL>/reset-password?token=…`',
    examples: ['https://app.example.com'],
  }),
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
  SMS_URL: Type.Optional(
    Type.String({
      pattern: '^https?://\\S+$',
      writeOnly: true,
      description:
        'Outgoing text messages: gets `POST { id, to, text }` (default: they are kept in the database and go nowhere)',
      examples: ['https://key:secret@sms.example.com/messages'],
    }),
  ),
  VAPID_PUBLIC_KEY: Type.Optional(
    Type.String({
      pattern: '^B[A-Za-z0-9_-]{86}$',
      description: 'Web push: the public key that browsers subscribe with (default: made and kept in the database)',
      examples: ['BAFzXU7KHUJgCNv1c5CnQtIN7cEbUq-SsVwmMq4Qc2yBf_VUYHUNLJJlvU5ZBG6GrEwmcvLIW5dH6nuUAqcGqoY'],
    }),
  ),
  VAPID_PRIVATE_KEY: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      writeOnly: true,
      description: 'Web push: the private key; made with the public one by `npx web-push generate-vapid-keys`',
      examples: ['example-of-the-form-make-a-pair-of-your-own'],
    }),
  ),
  VAPID_SUBJECT: Type.Optional(
    Type.String({
      pattern: '^(mailto:[^\\s@]+@[^\\s@]+|https://\\S+)$',
      description: 'Web push: whom push services may ask (default: the address of `MAIL_FROM`)',
      examples: ['mailto:admin@example.com'],
    }),
  ),
  PUSH_PRIVATE_ENDPOINTS: Type.Boolean({
    default: false,
    description: 'Web push to loopback and private addresses, also by `http:`; for development and tests only',
    examples: [true],
  }),
})
