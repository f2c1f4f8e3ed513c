import { type Static, Type } from 'typebox'
import { codecOf } from '../../codec.ts'

/** One endpoint of `EVENTS_WEBHOOKS`. */
export type WebhookRule = Static<typeof WebhookRule>

const WebhookRule = Type.Object({
  name: Type.String({ pattern: '^[a-z][a-z0-9-]{0,30}$' }),
  url: Type.String({ pattern: '^https?://[^\\s@]+$' }),
  /** Names of events; `*` stands for anything. */
  events: Type.Array(Type.String({ pattern: '^[a-z0-9.*-]{1,100}$' }), { minItems: 1 }),
  /** As Standard Webhooks writes it: `whsec_`, and 24 to 64 bytes in base64. */
  secret: Type.String({ pattern: '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$' }),
})
const Webhooks = Type.Array(WebhookRule)

/** A good `EVENTS_WEBHOOKS`, for people. */
export const EXAMPLE =
  '[{"name":"crm","url":"https://crm.example.com/seam","events":["user.*"],"secret":"whsec_bWFrZSBvbmUgb2YgeW91ciBvd24sIG9r"}]'

/** Reads `EVENTS_WEBHOOKS`: a list in JSON; `events` may be left out, which means all. Says what is wrong, without values. */
export function readWebhooks(text: string): { webhooks: readonly WebhookRule[]; fault?: string } {
  const none = (fault: string) => ({ webhooks: [], fault })
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return none('it is no JSON')
  }
  if (!Array.isArray(value)) return none('it is no list')
  const webhooks = value.map((rule) => (isRecord(rule) && !('events' in rule) ? { ...rule, events: ['*'] } : rule))
  const faults = codecOf(Webhooks)
    .faults(webhooks)
    .map(({ path, message }) => `${path || '/'} ${message}`)
  if (faults.length > 0) return none(faults.join(', '))
  const rules = webhooks as WebhookRule[]
  if (!rules.every(({ url }) => URL.canParse(url))) return none('one of its URLs cannot be read')
  const names = rules.map(({ name }) => name)
  if (new Set(names).size < names.length) return none('two have the same name')
  return { webhooks: rules }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
