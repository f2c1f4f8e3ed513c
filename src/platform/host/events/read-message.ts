import { inspect } from 'node:util'
import type { Confirmation, Delivery, DeliveryId } from './delivery.ts'
import { canBeKept, LONGEST, unreadable } from './unreadable.ts'

/** What is kept of something unreadable, in characters: more than a relay puts in a message. */
const MOST = 1_000_000
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const MODULE = /^[a-z][a-z0-9-]*$/

/** What is to be done about a message. */
interface Read {
  events: readonly Delivery[]
  confirmation: Confirmation | undefined
  /** What of it is neither, or is not to be believed. */
  garbage: { event: Delivery; fault: string }[]
}

/**
 * Reads what was found in a module's queue, whoever put it there: the sound parts of it, and the rest as a dead event. Fields
 * that are not known are let pass, since a process of the next release may have added them.
 *
 * @param isForged whether nobody can have published an event that is well formed
 */
export function readMessage(module: string, message: unknown, isForged: (event: Delivery) => boolean): Read {
  const { kind, events, confirmation } = record(message)
  const { subscriber, deliveries } = record(confirmation)
  const read: Read = { events: [], confirmation: undefined, garbage: [] }
  const keep = (rest: unknown, fault?: string) => read.garbage.push(garbageOf(module, rest, fault))
  if (kind === 'events' && isList(events)) {
    const [sound, broken] = divide(events, isDelivery)
    const forged = sound.filter(isForged)
    read.events = forged.length > 0 ? sound.filter((event) => !isForged(event)) : sound
    if (broken.length > 0) keep({ kind, events: broken })
    if (forged.length > 0) keep({ kind, events: forged }, faultOfForged(forged))
  } else if (kind === 'confirmation' && isModule(subscriber) && isList(deliveries)) {
    const [sound, broken] = divide(deliveries, isDeliveryId)
    if (sound.length > 0) read.confirmation = { subscriber, deliveries: sound }
    if (broken.length > 0) keep({ kind, confirmation: { subscriber, deliveries: broken } })
  } else keep(message)
  return read
}

function faultOfForged(events: readonly Delivery[]): string {
  const claims = events.map(({ publisher, name, version }) => `"${publisher}" has published ${name} v${version}`)
  return `It says that ${[...new Set(claims)].join(' and ')}, but there is no such module.`
}

function garbageOf(
  module: string,
  rest: unknown,
  fault = 'It is no message that modules send to each other.',
): Read['garbage'][number] {
  const text = textOf(rest)
  const event = unreadable(`queue:${module}`, text)
  if (text.length <= MOST) return { event, fault }
  const cut = `${fault} It has ${text.length} characters; the first ${MOST} are kept.`
  return { event: { ...event, data: { unreadable: text.slice(0, MOST).toWellFormed() } }, fault: cut }
}

/** JSON, which has neither zero bytes nor halves of characters; what is nested too deep for it is cut off. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return inspect(value, { depth: 100, maxArrayLength: null, maxStringLength: null })
  }
}

/** In most messages nothing is broken, and nothing is copied. */
function divide<T>(list: readonly unknown[], isSound: (one: unknown) => one is T): [readonly T[], unknown[]] {
  if (list.every(isSound)) return [list, []]
  return [list.filter(isSound), list.filter((one) => !isSound(one))]
}

function isDelivery(value: unknown): value is Delivery {
  const { publisher, name, version, key, sequence, place, after, occurredAt, data, requestId, traceparent } =
    record(value)
  return (
    isDeliveryId(value) &&
    isModule(publisher) &&
    isText(name) &&
    isNumber(version) &&
    isText(key) &&
    isNumber(sequence) &&
    (after === null || (isNumber(after) && after < (place as number))) &&
    isText(occurredAt) &&
    !Number.isNaN(Date.parse(occurredAt)) &&
    (requestId === null || isText(requestId)) &&
    (traceparent === null || isText(traceparent)) &&
    data !== undefined &&
    canBeKept(data)
  )
}

function isDeliveryId(value: unknown): value is DeliveryId {
  const { id, place } = record(value)
  return typeof id === 'string' && ID.test(id) && isNumber(place) && place > 0
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const isList = (value: unknown): value is unknown[] => Array.isArray(value) && value.length > 0
const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= LONGEST && canBeKept(value)
const isModule = (value: unknown): value is string => isText(value) && MODULE.test(value)
