import { createHash } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../../kit/tables.ts'
import type { Delivery } from './delivery.ts'
import { failureOf } from './failure.ts'
import { keepFailed } from './inbox.ts'

/** Longer keys and names fit in no index, in characters. */
export const LONGEST = 500
/** Nothing sane is nested deeper; PostgreSQL and JSON.stringify give up at some thousands. */
const DEEPEST = 500

/** Whether PostgreSQL can keep a value in `jsonb`: it has no zero bytes, no halves of characters, and ends somewhere. */
export function canBeKept(value: unknown, depth = DEEPEST): boolean {
  if (typeof value === 'string') return !value.includes('\0') && value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  if (depth === 0) return false
  for (const key in value) {
    const part = (value as Record<string, unknown>)[key]
    if (!canBeKept(key) || !canBeKept(part, depth - 1)) return false
  }
  return true
}

/**
 * What came from a queue and is no event, as a delivery to the inbox. The same text has the same id each time that it comes.
 *
 * @param publisher where it came from, with a colon, so that nobody waits for a confirmation
 * @param text without zero bytes and halves of characters
 */
export function unreadable(publisher: string, text: string): Delivery {
  const id = uuidOf(publisher, text)
  return {
    id,
    publisher,
    name: 'unreadable',
    version: 0,
    key: id,
    sequence: 1,
    place: 1,
    after: null,
    occurredAt: new Date().toISOString(),
    data: { unreadable: text },
    requestId: null,
    traceparent: null,
  }
}

/** Keeps it as a dead event, for operators to see and to discard, and reports it. */
export async function keepUnreadable(
  delivery: Delivery,
  fault: string,
  { db, log }: { db: Database; log: FastifyBaseLogger },
): Promise<void> {
  await keepFailed(db, delivery, { ...failureOf(new Error(fault)), stack: '' }, 'never')
  const about = { event: delivery.id, queue: delivery.publisher, fault }
  log.error(about, 'a message is no event, and is kept: see `seam events`')
}

/** A UUID of version 8 that follows from the parts alone. */
export function uuidOf(...parts: string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(parts)).digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}
