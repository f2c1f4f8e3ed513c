import type { Fragment, Row, Sql } from 'postgres'
import type { ContractEvent } from '../../kit/contract.ts'
import { BadInput } from '../../kit/errors.ts'
import { type Database, newId, type SQLWrapper, type Transaction } from '../../kit/tables.ts'
import { codecOf } from '../codec.ts'
import { readyMade } from '../data/ready-made.ts'
import { UNFLUSHED } from '../data/unflushed.ts'
import { RequestContext } from '../request-context.ts'
import { type Span, spanBelow } from '../tracing/tracer.ts'
import { type Delivery, type DeliveryId, deliveryOf } from './delivery.ts'
import { LONGEST } from './unreadable.ts'

/** A module or a system outside that is told of an event. */
export interface Subscriber {
  readonly name: string
  /** It need not have handled the earlier events of the key. */
  readonly unordered?: boolean
  /** When it is new, it is given the event's history first. */
  readonly replay?: boolean
}

/**
 * Records an event in the publisher's transaction, in one statement. Until that ends, nobody else publishes for the same key:
 * so `serial` has the events of a key in the order of their commits. A relay gives them numbers and deliveries (sequence.ts).
 *
 * @throws {BadInput} when the data does not have the event's shape, or its key is longer than 500 characters
 */
export async function publish(
  tx: Transaction,
  event: ContractEvent,
  data: unknown,
  subscribers: readonly Subscriber[],
): Promise<void> {
  const key = keyIn(event, data)
  await inSpan(event, (span) =>
    tx.execute(readyMade(() => ({ sql: record(0), params: rowOf(event, key, data, subscribers, span) }))),
  )
}

/**
 * The same in one statement with what it tells of, which `returns` something; where it wrote nothing, there is no event.
 * Needs no transaction.
 *
 * @returns what was written
 * @throws {BadInput} as {@link publish}; nothing is written then
 */
export async function publishWith(
  db: Database | Transaction,
  write: SQLWrapper,
  event: ContractEvent,
  data: unknown,
  subscribers: readonly Subscriber[],
): Promise<Record<string, unknown>[]> {
  const key = keyIn(event, data)
  return inSpan(event, (span) =>
    db.execute(
      readyMade((config) => {
        const { sql, params } = write.getSQL().toQuery(config)
        const recorded = record(params.length, 'from (select from written limit 1) as one')
        return {
          sql: `with written as (${sql}), recorded as (${recorded}) select * from written`,
          params: [...params, ...rowOf(event, key, data, subscribers, span)],
        }
      }),
    ),
  )
}

function keyIn(event: ContractEvent, data: unknown): string {
  const faults = codecOf(event.data).faults(data)
  const key = String((data as Record<string, unknown>)?.[event.key])
  if (key.length > LONGEST) faults.push({ path: `/${event.key}`, message: `is longer than ${LONGEST} characters` })
  if (faults.length > 0)
    throw new BadInput(event.module, faults, `The event ${event.name} was published with bad data.`)
  return key
}

/**
 * In words of SQL. `serial` is drawn once the lock on the key is held; it has another number than that of the locks of inboxes.
 *
 * @param before how many parameters the statement has before those of {@link rowOf}
 */
const record = (before: number, from = ''): string => {
  const [id, name, version, key, data, requestId, traceparent, subscribers] = COLUMNS.map(
    (_, i) => `$${before + i + 1}`,
  )
  return `insert into outbox_new (${COLUMNS.join(', ')})
    select ${id}::uuid, ${name}, ${version}, ${key}::text, ${data}::jsonb, ${requestId}, ${traceparent}, ${subscribers}::jsonb ${from}
    where pg_advisory_xact_lock(hashtextextended(concat_ws(' ', current_schema(), ${key}), 1)) is not null`
}
const COLUMNS = ['id', 'name', 'version', 'key', 'data', 'request_id', 'traceparent', 'subscribers'] as const

function rowOf(
  event: ContractEvent,
  key: string,
  data: unknown,
  subscribers: readonly Subscriber[],
  span: Span | undefined,
): unknown[] {
  const context = RequestContext.current()
  const traceparent = span?.traceparent ?? context?.traceparent ?? null
  const [values, told] = [JSON.stringify(data), JSON.stringify(subscribers)]
  return [newId(), event.name, event.version, key, values, context?.requestId ?? null, traceparent, told]
}

/** The events that are kept belong to the span in which they were written. */
async function inSpan<T>(event: ContractEvent, write: (span: Span | undefined) => PromiseLike<T>): Promise<T> {
  const context = RequestContext.current()
  const span =
    context?.span &&
    spanBelow(context.traceparent, `publish ${event.name}`, 'producer', { 'seam.module': event.module })
  if (!span) return write(undefined)
  try {
    const written = await write(span)
    span.end()
    return written
  } catch (error) {
    span.end(error)
    throw error
  }
}

/** An event on its way to one subscriber. */
export interface Due {
  subscriber: string
  event: Delivery
  /** How often it has been taken, this time included. */
  attempts: number
  /** Of its data, in characters. */
  size: number
}

/**
 * Takes up to `limit` deliveries that are due and puts each off by `seconds`, twice as many each time up to 16-fold: if no
 * confirmation has come by then, it is taken again. Any number of relays may do this at once; none waits for another.
 * Systems outside have relays of their own.
 */
export async function takeDue(db: Sql, module: string, limit: number, seconds: number): Promise<Due[]> {
  // With the limit as a parameter, PostgreSQL would plan for a tenth of the table and read all of it.
  const due = db`
    select event_id, subscriber, place from outbox_deliveries
    where confirmed_at is null and due_at <= now() and subscriber not like '%:%'
    order by due_at, event_id
    limit ${db.unsafe(String(limit))}
    for update skip locked`
  return take(db, module, due, db`${seconds} * power(2, least(d.attempts, 4))`)
}

/**
 * Takes deliveries, and puts each off.
 *
 * @param due a query that locks them and gives `event_id`, `subscriber` and `place` of each
 * @param seconds how long each is put off, in SQL; `d.attempts` is how often it has been taken before
 */
export async function take(db: Sql, module: string, due: Fragment, seconds: Fragment): Promise<Due[]> {
  const rows = await db`
    with due as (${due}), taken as (
      update outbox_deliveries as d set due_at = now() + make_interval(secs => ${seconds}), attempts = d.attempts + 1
      from due where d.event_id = due.event_id and d.subscriber = due.subscriber and d.place = due.place
      returning d.event_id, d.subscriber, d.place, d.after, d.attempts
    )
    select taken.subscriber, taken.place, taken.after, taken.attempts, outbox.id, outbox.name, outbox.version, outbox.key,
      outbox.sequence, outbox.data::text, outbox.request_id, outbox.traceparent,
      to_char(outbox.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
    from taken join outbox on outbox.id = taken.event_id
    order by outbox.id, taken.place`
  return rows.map((row) => dueOf(module, row))
}

/** A delivery that was taken, from a row of {@link deliveryOf} with its `subscriber` and `attempts`. */
export function dueOf(module: string, row: Row): Due {
  const { subscriber, attempts } = row
  return { subscriber, attempts, size: row.data.length, event: deliveryOf(module, row) }
}

/** Makes deliveries due again in `seconds`, because they could not be sent; that was no attempt then. */
export async function putOff(db: Sql, due: readonly Due[], seconds: number): Promise<void> {
  const deliveries = due.map(({ event: { id, place }, subscriber }) => ({ id, place, subscriber }))
  await change(db, deliveries, `due_at = now() + interval '${seconds} seconds', attempts = attempts - 1`)
}

/** Notes that events took effect at a subscriber. */
export async function confirm(db: Sql, subscriber: string, deliveries: readonly DeliveryId[]): Promise<void> {
  await change(
    db,
    deliveries.map(({ id, place }) => ({ id, place, subscriber })),
    'confirmed_at = coalesce(confirmed_at, now())',
  )
}

/**
 * Changes deliveries. If a crash of the database undoes it, they are delivered again: to modules, where that changes nothing, and
 * to systems outside, which have to expect it.
 *
 * It is planned anew each time, and asks for nothing but the primary key: how many deliveries are unconfirmed is what
 * PostgreSQL guesses worst, and with a backlog it would compare each of those with each of these.
 *
 * @param to what they become, in SQL
 */
async function change(
  db: Sql,
  deliveries: readonly (DeliveryId & { subscriber: string })[],
  to: string,
): Promise<void> {
  const text = `
    update outbox_deliveries as d set ${to}
    from unnest($1::uuid[], $2::bigint[], $3::text[]) as these (event_id, place, subscriber)
    where d.event_id = these.event_id and d.subscriber = these.subscriber and d.place = these.place and ${UNFLUSHED}`
  const lists = [ids(deliveries), places(deliveries), list(deliveries.map(({ subscriber }) => subscriber))]
  await db.unsafe(text, lists, { prepare: false })
}

/**
 * Removes events that are older than `seconds` and that all subscribers have confirmed, the oldest first, at most `limit`.
 * Writers and relays do not wait for it, nor several of it for each other.
 *
 * @returns how many
 */
export async function prune(db: Sql, seconds: number, limit: number): Promise<number> {
  return db.begin(async (tx) => {
    const old = await tx`
      select id from outbox as old
      where id < ${firstIdOf(Date.now() - seconds * 1000)}::uuid
        and not exists (select from outbox_deliveries where event_id = old.id and confirmed_at is null)
      order by id limit ${tx.unsafe(String(limit))} for update skip locked`
    // Looked at again now that they are locked: what a replay has delivered once more meanwhile was not seen before.
    const [gone] = await tx`
      with gone as (
        delete from outbox as old where id = any(${list(old.map(({ id }) => id))}::uuid[])
          and not exists (select from outbox_deliveries where event_id = old.id and confirmed_at is null)
        returning id
      ), deliveries as (
        delete from outbox_deliveries where event_id in (select id from gone)
      )
      select count(*)::int as count from gone`
    return gone!.count
  })
}

/** The lowest UUIDv7 of a moment (RFC 9562, 5.7): its first 48 bits are the milliseconds since 1970. */
export const firstIdOf = (moment: number): string => {
  const hex = Math.floor(moment).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

/** Ids, numbers and names of modules as PostgreSQL writes a list; in quotes, for a name may be `null`. */
const list = (values: readonly (string | number)[]): string => `{${values.map((value) => `"${value}"`).join(',')}}`
const ids = (deliveries: readonly DeliveryId[]): string => list(deliveries.map(({ id }) => id))
const places = (deliveries: readonly DeliveryId[]): string => list(deliveries.map(({ place }) => place))
