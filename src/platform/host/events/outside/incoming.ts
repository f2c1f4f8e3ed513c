import type { ExternalEvent } from '../../../kit/external.ts'
import type { Delivery } from '../delivery.ts'
import { canBeKept, LONGEST, unreadable, uuidOf } from '../unreadable.ts'

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
      : !canBeKept(data)
        ? 'It has characters that cannot be kept, or is nested too deep.'
        : id === undefined
          ? 'It has no id, so nobody could say whether it has come before.'
          : type === undefined
            ? 'It does not say its type.'
            : keyOf(declared, data).length > LONGEST
              ? 'Its key is too long.'
              : undefined
  const time = textOf(attributes.time)
  const about = {
    name: type ?? 'unreadable',
    version: declared?.version ?? 0,
    occurredAt: new Date(time && !Number.isNaN(Date.parse(time)) ? time : Date.now()).toISOString(),
    traceparent: textOf(attributes.traceparent ?? properties.headers?.traceparent) ?? null,
  }
  const publisher = `amqp:${queue}`
  if (fault !== undefined) return { event: { ...unreadable(publisher, asText(content)), ...about }, fault }
  const source = textOf(attributes.source) ?? ''
  const event = {
    id: uuidOf(queue, source, id!),
    publisher,
    key: keyOf(declared, data),
    sequence: 1,
    place: 1,
    // A queue of somebody else's says nothing of what came before.
    after: null,
    data,
    requestId: null,
    ...about,
  }
  return { event }
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
