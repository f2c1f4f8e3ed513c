import { type Static, Type } from 'typebox'

/** What people are notified of. */
export const Kind = Type.Enum(['welcome', 'comment'], {
  description: '`welcome`: the account was made. `comment`: somebody has commented on a post of theirs.',
})
export type Kind = Static<typeof Kind>

/** By which ways one kind of notification reaches a user. */
export const Channels = Type.Object(
  {
    inApp: Type.Boolean({ description: 'In the list of notifications, and in the stream.' }),
    email: Type.Boolean({ description: 'The mail of `welcome` is sent always: the link in it verifies the address.' }),
    push: Type.Boolean({ description: 'To all browsers that are subscribed.' }),
    sms: Type.Boolean({ description: 'If there is a `phone`.' }),
  },
  { additionalProperties: false },
)

/** A telephone number in the form of E.164. */
export const Phone = Type.String({
  pattern: '^\\+[1-9][0-9]{6,14}$',
  description: 'A number with its country, in the form of E.164.',
  examples: ['+12025550123'],
})

export const Preferences = Type.Object(
  {
    phone: Type.Union([Phone, Type.Null()], { description: 'Where text messages go; null: none are sent.' }),
    kinds: Type.Object({ welcome: Channels, comment: Channels }, { additionalProperties: false }),
  },
  { additionalProperties: false },
)
export type Preferences = Static<typeof Preferences>

/** For those who have not said otherwise. */
export const DEFAULT_KINDS: Preferences['kinds'] = {
  welcome: { inApp: true, email: true, push: true, sms: false },
  comment: { inApp: true, email: true, push: true, sms: false },
}
