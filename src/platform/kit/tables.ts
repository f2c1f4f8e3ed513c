import { randomUUIDv7 } from 'node:crypto'
import { createRequire } from 'node:module'
import type { SQLWrapper } from 'drizzle-orm'
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js'

export type { SQLWrapper }

// drizzle's ES modules take 360 ms and 200 MB to import, the same code by require() 45 ms and 20 MB.
const require = createRequire(import.meta.url)
const core = require('drizzle-orm/pg-core') as typeof import('drizzle-orm/pg-core')
const orm = require('drizzle-orm') as typeof import('drizzle-orm')

/** drizzle's vocabulary for tables and queries; import it from here. */
export const {
  bigint,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  smallint,
  text,
  uniqueIndex,
  uuid,
} = core
export const { and, asc, count, desc, eq, gt, isNotNull, isNull, lt, ne, sql } = orm

/** A module's database: drizzle on a pool of connections, each under the module's own role. */
export type Database = PostgresJsDatabase
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0]
type Schema = ReturnType<typeof core.pgSchema>

/** A UUIDv7 primary key, made by the application: it sorts by time of creation. */
export const id = () => uuid('id').primaryKey().$defaultFn(newId)

/** A new UUIDv7. */
export const newId = (): string => randomUUIDv7()

/** A moment, kept as `timestamptz` and read as ISO 8601 in UTC with milliseconds. */
export const instant = customType<{ data: string; driverData: string }>({
  dataType: () => 'timestamp with time zone',
  fromDriver: toIso,
})

/** PostgreSQL says `2026-11-22 22:31:10.047+00`; to take it apart is a tenth of the work of a Date. */
function toIso(text: string): string {
  if (text.charCodeAt(10) !== 32 || !text.endsWith('+00')) return new Date(text).toISOString()
  const fraction = text.charCodeAt(19) === 46 ? text.slice(20, -3).padEnd(3, '0').slice(0, 3) : '000'
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${fraction}Z`
}

/** A column that says when the row was made. */
export const createdAt = () => instant('created_at').notNull().default(sql`now()`)

/**
 * The tables that carry a module's events. Every module has them in its own schema, because events are written in the
 * publisher's transaction and noted as handled in the subscriber's.
 *
 * - `outbox_new`: events as they were published, until a relay moves them on
 * - `outbox`: every event with its number, kept after its deliveries are confirmed, so that history can be replayed
 * - `outbox_keys`: the last sequence number of each key, and for each subscriber the last one that concerned it
 * - `outbox_deliveries`: one row for each subscriber of an event, until (and after) that subscriber confirms it; one more
 *   when it is replayed
 * - `outbox_history`: which new subscribers were given the history of which events
 * - `inbox`: events of other modules that have arrived and have not taken effect: they wait for an earlier one of their key,
 *   for another attempt, or for somebody to look at them
 * - `inbox_keys`: the place of the last event of each publisher's key that took effect here
 * - `inbox_done`: the events that took effect here and need no order
 *
 * @example
 * export const { outboxNew, outbox, outboxKeys, outboxDeliveries, outboxHistory, inbox, inboxKeys, inboxDone } = eventTables(schema)
 */
export function eventTables(schema: Schema) {
  const event = () => ({
    name: text('name').notNull(),
    version: integer('version').notNull(),
    key: text('key').notNull(),
    data: jsonb('data').notNull(),
    requestId: text('request_id'),
    traceparent: text('traceparent'),
    createdAt: createdAt(),
  })
  const outboxNew = schema.table('outbox_new', {
    /** Of events of one key, in the order of their commits. */
    serial: bigint('serial', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    id: uuid('id').notNull(),
    ...event(),
    /** Who is told: `[{ name, unordered? }]`. */
    subscribers: jsonb('subscribers').notNull(),
  })
  const outbox = schema.table(
    'outbox',
    { id: id(), sequence: bigint('sequence', { mode: 'number' }).notNull(), ...event() },
    (table) => [uniqueIndex('outbox_key_sequence').on(table.key, table.sequence)],
  )
  const outboxKeys = schema.table('outbox_keys', {
    key: text('key').primaryKey(),
    last: bigint('last', { mode: 'number' }).notNull(),
    /** By subscriber. */
    sent: jsonb('sent').notNull().default({}),
    /** The same as it was before the last event. */
    sentBefore: jsonb('sent_before').notNull().default({}),
  })
  const outboxDeliveries = schema.table(
    'outbox_deliveries',
    {
      // No foreign key: publishing would pay for its check, and whoever prunes removes both.
      eventId: uuid('event_id').notNull(),
      subscriber: text('subscriber').notNull(),
      /** Its place in the order of its key: the event's sequence number, or when it is replayed a later number. */
      place: bigint('place', { mode: 'number' }).notNull(),
      /** The place that this subscriber must have handled before; 0: none; null: this one needs no order. */
      after: bigint('after', { mode: 'number' }),
      attempts: integer('attempts').notNull().default(0),
      dueAt: instant('due_at').notNull().default(sql`now()`),
      confirmedAt: instant('confirmed_at'),
      /** Of a system outside, which has no inbox: what went wrong, the last one first, and since when it is not tried any more. */
      errors: jsonb('errors'),
      deadAt: instant('dead_at'),
    },
    (table) => [
      primaryKey({ columns: [table.eventId, table.subscriber, table.place] }),
      // Subscribers with a colon are outside; however much waits for them, it is not in the way of the modules.
      index('outbox_deliveries_due').on(table.dueAt).where(sql`confirmed_at is null and subscriber not like '%:%'`),
      index('outbox_deliveries_outside')
        .on(table.subscriber, table.dueAt)
        .where(sql`confirmed_at is null and dead_at is null and subscriber like '%:%'`),
      index('outbox_deliveries_dead').on(table.deadAt).where(sql`dead_at is not null and confirmed_at is null`),
    ],
  )
  const outboxHistory = schema.table(
    'outbox_history',
    {
      subscriber: text('subscriber').notNull(),
      event: text('event').notNull(),
      givenAt: instant('given_at').notNull().default(sql`now()`),
    },
    (table) => [primaryKey({ columns: [table.subscriber, table.event] })],
  )
  const inbox = schema.table(
    'inbox',
    {
      eventId: uuid('event_id').notNull(),
      publisher: text('publisher').notNull(),
      key: text('key').notNull(),
      place: bigint('place', { mode: 'number' }).notNull(),
      after: bigint('after', { mode: 'number' }),
      /** All of it, as it arrived. */
      event: jsonb('event').notNull(),
      attempts: integer('attempts').notNull().default(0),
      /** What went wrong, the last one first. */
      errors: jsonb('errors').notNull().default([]),
      /** When it is tried again; null: when its turn comes. */
      dueAt: instant('due_at'),
      /** Since when it is not tried any more. */
      deadAt: instant('dead_at'),
      arrivedAt: instant('arrived_at').notNull().default(sql`now()`),
    },
    (table) => [
      primaryKey({ columns: [table.eventId, table.place] }),
      index('inbox_turn').on(table.publisher, table.key, table.place),
      index('inbox_waiting').on(table.publisher, table.key, table.place).where(sql`due_at is null and dead_at is null`),
      index('inbox_due').on(table.dueAt).where(sql`dead_at is null`),
      index('inbox_dead').on(table.deadAt).where(sql`dead_at is not null`),
    ],
  )
  const inboxKeys = schema.table(
    'inbox_keys',
    {
      publisher: text('publisher').notNull(),
      key: text('key').notNull(),
      last: bigint('last', { mode: 'number' }).notNull(),
      /** The same as it was before the last turn. */
      before: bigint('before', { mode: 'number' }).notNull().default(0),
    },
    (table) => [primaryKey({ columns: [table.publisher, table.key] })],
  )
  const inboxDone = schema.table(
    'inbox_done',
    {
      eventId: uuid('event_id').notNull(),
      place: bigint('place', { mode: 'number' }).notNull(),
      doneAt: instant('done_at').notNull().default(sql`now()`),
    },
    (table) => [primaryKey({ columns: [table.eventId, table.place] }), index('inbox_done_at').on(table.doneAt)],
  )
  return { outboxNew, outbox, outboxKeys, outboxDeliveries, outboxHistory, inbox, inboxKeys, inboxDone }
}

/**
 * The table of a module that uses `app.once`: what was done for which idempotency key, written in the
 * transaction in which it was done. What came out of it is sealed, since there may be tokens in it.
 *
 * @example export const idempotencyKeys = idempotencyTable(schema)
 */
export function idempotencyTable(schema: Schema) {
  return schema.table(
    'idempotency_keys',
    {
      /** The user, or `anyone`; of a call, the module and the procedure come before it. */
      caller: text('caller').notNull(),
      key: text('key').notNull(),
      /** Of method, path and body, or of the input of a call. */
      fingerprint: text('fingerprint').notNull(),
      result: text('result'),
      createdAt: createdAt(),
    },
    (table) => [
      primaryKey({ columns: [table.caller, table.key] }),
      index('idempotency_keys_created_at').on(table.createdAt),
    ],
  )
}
