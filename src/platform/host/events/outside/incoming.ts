import { createHash } from 'node:crypto'
import type { ExternalEvent } from '../../../kit/external.ts'
import type { Delivery } from '../delivery.ts'

/** A message as it came from a queue. */
export interface Incoming {
  content: Buffer
  properties: {
    headers?: Record<string, unknown> | undefined
    contentType?: unknown
    messageId?: unknown
    type?: unknown
  }
}

/** Longer keys and names fit in no index. */
const LONGEST = 500
/** What PostgreSQL cannot keep in `jsonb`: zero bytes, and halves of characters. */
const UNKEPT = /(?<!\\)(\\\\)*\\u(0000|d[89a-f]..)/i

/**
 * Reads a message as an event: a CloudEvent in either mode, or JSON with the properties `message_id` and `type`. The type may
 * be missing where the queue has events of one kind only. The same message has the same id each time that it comes.
 *
 * @returns what can be kept of it, and what is wrong with it, if it cannot be handled
 */
export function readIncoming(
  queue: string,
  events: readonly ExternalEvent[],
  message: Incoming,
): { event: Delivery; fault?: string } {
  const { content, properties } = message
  const text = content.toString()
  const body = parse(text)
  const isWhole = String(properties.contentType ?? '').startsWith('application/cloudevents+json')
  const attributes = isWhole ? record(body) : headersOf(properties)
  const type = textOf(attributes.type ?? properties.type) ?? (events.length === 1 ? events[0]!.name : undefined)
  const id = textOf(attributes.id ?? properties.messageId)
  const data = isWhole ? record(body).data : body
  const declared = events.find(({ name }) => name === type)
  const fault =
    body === undefined || data === undefined
      ? 'It is not JSON.'
      : UNKEPT.test(JSON.stringify(data))
        ? 'It has characters that cannot be kept.'
        : id === undefined
          ? 'It has no id, so nobody could say whether it has come before.'
          : type === undefined
            ? 'It does not say its type.'
            : keyOf(declared, data).length > LONGEST
              ? 'Its key is too long.'
              : undefined
  const source = textOf(attributes.source) ?? ''
  const unique = fault === undefined ? uuidOf(queue, source, id!) : uuidOf(queue, text)
  const time = textOf(attributes.time)
  const event = {
    id: unique,
    publisher: `amqp:${queue}`,
    name: type ?? 'unreadable',
    version: declared?.version ?? 0,
    key: fault === undefined ? keyOf(declared, data) : unique,
    sequence: 1,
    place: 1,
    // A queue of somebody else's says nothing of what came before.
    after: null,
    occurredAt: new Date(time && !Number.isNaN(Date.parse(time)) ? time : Date.now()).toISOString(),
    data: fault === undefined ? data : { unreadable: asText(content) },
    requestId: null,
    traceparent: textOf(attributes.traceparent ?? properties.headers?.traceparent) ?? null,
  }
  return fault === undefined ? { event } : { event, fault }
}

function headersOf({ headers }: Incoming['properties']): Record<string, unknown> {
  const named = Object.entries(headers ?? {}).map(([name, value]) => [/^cloudEvents[:_](.*)$/.exec(name)?.[1], value])
  return Object.fromEntries(named.filter(([name]) => name !== undefined))
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= LONGEST && !/\0/.test(value) && value.isWellFormed()
    ? value
    : undefined

const keyOf = (event: ExternalEvent | undefined, data: unknown): string =>
  event ? String(record(data)[event.key]) : ''

/** What is no text is kept in base64. */
function asText(content: Buffer): string {
  const text = content.toString()
  return Buffer.from(text).equals(content) && !text.includes('\0') ? text : `base64:${content.toString('base64')}`
}

/** A UUID of version 8 that follows from the parts alone. */
function uuidOf(...parts: string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}
