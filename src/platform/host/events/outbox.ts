import type { Sql } from 'postgres'
import type { ContractEvent } from '../../kit/contract.ts'
import { BadInput } from '../../kit/errors.ts'
import { newId, sql, type Transaction } from '../../kit/tables.ts'
import { codecOf } from '../codec.ts'
import { RequestContext } from '../request-context.ts'
import type { Delivery } from './delivery.ts'

/** The channel on which the relays of a module hear that its outbox has something new. */
export const channelOf = (module: string): string => `seam_outbox_${module}`

/**
 * Records an event and its deliveries in the publisher's transaction, in one statement. The key's sequence number comes
 * from a row that stays locked until the commit, so events of one key are numbered in the order in which they are
 * committed. Relays are woken at the commit.
 *
 * @throws {BadInput} when the data does not have the event's shape
 */
export async function publish(
  tx: Transaction,
  event: ContractEvent,
  data: unknown,
  subscribers: readonly string[],
): Promise<void> {
  const faults = codecOf(event.data).faults(data)
  if (faults.length > 0)
    throw new BadInput(event.module, faults, `The event ${event.name} was published with bad data.`)
  const key = String((data as Record<string, unknown>)[event.key])
  const context = RequestContext.current()
  const all = JSON.stringify(subscribers)
  const first = JSON.stringify(Object.fromEntries(subscribers.map((subscriber) => [subscriber, 1])))
  await tx.execute(sql`
    with keyed as (
      insert into outbox_keys as known (key, last, sent) values (${key}, 1, ${first}::jsonb)
      on conflict (key) do update set last = known.last + 1, sent_before = known.sent, sent = known.sent || (
        select coalesce(jsonb_object_agg(subscriber, known.last + 1), '{}')
        from jsonb_array_elements_text(${all}::jsonb) as subscriber)
      returning last, sent_before
    ), event as (
      insert into outbox (id, name, version, key, sequence, data, request_id, traceparent)
      select ${newId()}::uuid, ${event.name}, ${event.version}, ${key}, last, ${JSON.stringify(data)}::jsonb,
        ${context?.requestId ?? null}, ${context?.traceparent ?? null}
      from keyed
      returning id
    ), deliveries as (
      insert into outbox_deliveries (event_id, subscriber, after)
      select id, subscriber, coalesce((sent_before ->> subscriber)::bigint, 0)
      from event, keyed, jsonb_array_elements_text(${all}::jsonb) as subscriber
    )
    select pg_notify(${channelOf(event.module)}, '') from event`)
}

/** An event on its way to one subscriber. */
export interface Due {
  subscriber: string
  event: Delivery
}

/**
 * Takes up to `limit` deliveries that are due and puts each off by `seconds`, twice as many each time up to 16-fold: if no
 * confirmation has come by then, it is taken again. Any number of relays may do this at once; none waits for another.
 * Systems outside have relays of their own.
 */
export async function takeDue(db: Sql, module: string, limit: number, seconds: number): Promise<Due[]> {
  // With the limit as a parameter, PostgreSQL would plan for a tenth of the table and read all of it.
  const rows = await db`
    with due as (
      select event_id, subscriber from outbox_deliveries
      where confirmed_at is null and due_at <= now() and subscriber not like '%:%'
      order by due_at, event_id
      limit ${db.unsafe(String(limit))}
      for update skip locked
    ), taken as (
      update outbox_deliveries as d
      set due_at = now() + make_interval(secs => ${seconds} * power(2, least(d.attempts, 4))), attempts = d.attempts + 1
      from due where d.event_id = due.event_id and d.subscriber = due.subscriber
      returning d.event_id, d.subscriber, d.after
    )
    select taken.subscriber, taken.after, outbox.id, outbox.name, outbox.version, outbox.key, outbox.sequence, outbox.data::text,
      outbox.request_id, outbox.traceparent, to_char(outbox.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
    from taken join outbox on outbox.id = taken.event_id
    order by outbox.id`
  return rows.map((row) => ({
    subscriber: row.subscriber,
    event: {
      id: row.id,
      publisher: module,
      name: row.name,
      version: row.version,
      key: row.key,
      sequence: Number(row.sequence),
      after: Number(row.after),
      occurredAt: row.occurred_at,
      data: JSON.parse(row.data),
      requestId: row.request_id,
      traceparent: row.traceparent,
    },
  }))
}

/** Makes deliveries due again in `seconds`, because they could not be sent; that was no attempt then. */
export async function putOff(db: Sql, due: readonly Due[], seconds: number): Promise<void> {
  await db`
    update outbox_deliveries set due_at = now() + make_interval(secs => ${seconds}), attempts = attempts - 1
    where confirmed_at is null and (event_id, subscriber) in (
      select * from unnest(${list(due.map(({ event }) => event.id))}::uuid[], ${list(due.map(({ subscriber }) => subscriber))}::text[]))`
}

/** Notes that events took effect at a subscriber. */
export async function confirm(db: Sql, subscriber: string, eventIds: readonly string[]): Promise<void> {
  await db`
    update outbox_deliveries set confirmed_at = now()
    where subscriber = ${subscriber} and event_id = any(${list(eventIds)}::uuid[]) and confirmed_at is null`
}

/**
 * Removes events that are older than `seconds` and that all subscribers have confirmed, the oldest first, at most `limit`.
 * Writers and relays do not wait for it, nor several of it for each other.
 *
 * @returns how many
 */
export async function prune(db: Sql, seconds: number, limit: number): Promise<number> {
  const gone = await db`
    delete from outbox where id in (
      select id from outbox as old
      where id < ${firstIdOf(Date.now() - seconds * 1000)}::uuid
        and not exists (select from outbox_deliveries where event_id = old.id and confirmed_at is null)
      order by id limit ${db.unsafe(String(limit))} for update skip locked)`
  return gone.count
}

/** The lowest UUIDv7 of a moment (RFC 9562, 5.7): its first 48 bits are the milliseconds since 1970. */
const firstIdOf = (moment: number): string => {
  const hex = Math.floor(moment).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

/** Ids and names of modules as PostgreSQL writes a list; they have nothing in them that needs quotes. */
const list = (values: readonly string[]): string => `{${values.join(',')}}`
