import type { Sql } from 'postgres'
import { type Due, dueOf } from './outbox.ts'

/** New events that have been given their places. */
export interface Sequenced {
  /** How many. */
  events: number
  /** Their deliveries to modules, which have been taken, as {@link takeDue} takes them. */
  due: Due[]
  /** Whether there is something for a system outside. */
  outside: boolean
}

/**
 * Moves new events on, up to `limit`: gives each its number, which follows that of the key's event that was committed before
 * it, and a delivery for each subscriber. Those to modules are taken with it, for `seconds`. One statement; of several at the
 * same time one waits for the other, because whoever passed over an event would number the next one of its key first.
 *
 * @param options.isBehind there are so many that a plan of its own pays
 */
export async function sequence(
  db: Sql,
  module: string,
  { limit, seconds, isBehind = false }: { limit: number; seconds: number; isBehind?: boolean },
): Promise<Sequenced> {
  const rows = await db.unsafe(statement(limit, seconds), [], { prepare: !isBehind, simple: false } as object)
  return {
    events: new Set(rows.map(({ id }) => id)).size,
    due: rows.filter(({ attempts }) => attempts === 1).map((row) => dueOf(module, row)),
    outside: rows.some(({ attempts }) => attempts === 0),
  }
}

/**
 * Without parameters, so that it is planned once for each connection: planning takes as long as running it for one event. It
 * is planned for a table that is empty, as this one is most of the time. So it has full joins where inner ones would do: these
 * can be no nested loops.
 */
const statement = (limit: number, seconds: number): string => `
    with new as (
      delete from outbox_new where serial = any (array (
        select serial from outbox_new order by serial limit ${limit} for update))
      returning *
    ), nth as materialized (
      select *, row_number() over (partition by key order by serial) as n, count(*) over (partition by key) from new
    ), told as materialized (
      select id, key, n, count, subscriber, unordered, lag(n) over (partition by key, subscriber, unordered order by n) as previous
      from (
        select id, key, n, count, one.name as subscriber, coalesce(one.unordered, false) as unordered
        from nth, jsonb_to_recordset(subscribers) as one (name text, unordered boolean)) as each
    ), sent as (
      select key, jsonb_object_agg(subscriber, n) as sent
      from (select key, subscriber, max(n) as n from told where not unordered group by key, subscriber) as last
      group by key
    ), known as (
      insert into outbox_keys as known (key, last, sent)
      select key, count, coalesce(sent, '{}') from (select key, count from nth where n = 1) as first full join sent using (key)
      order by key
      on conflict (key) do update set last = known.last + excluded.last, sent_before = known.sent,
        sent = known.sent || coalesce((
          select jsonb_object_agg(subscriber, known.last + n::bigint) from jsonb_each_text(excluded.sent) as sent (subscriber, n)
        ), '{}')
      returning key, last, sent_before
    ), numbered as (
      insert into outbox (id, name, version, key, sequence, data, request_id, traceparent, created_at)
      select id, name, version, key, last - count + n, data, request_id, traceparent, created_at
      from nth full join known using (key)
      returning *
    ), deliveries as (
      insert into outbox_deliveries (event_id, subscriber, place, after, attempts, due_at)
      select id, subscriber, before + n,
        case when not unordered then coalesce(before + previous, (sent_before ->> subscriber)::bigint, 0) end,
        case when subscriber like '%:%' then 0 else 1 end,
        case when subscriber like '%:%' then now() else now() + make_interval(secs => ${seconds}) end
      from (select *, last - count as before from told full join known using (key) offset 0) as placed
      where subscriber is not null
      returning event_id, subscriber, place, after, attempts
    )
    select id, name, version, key, sequence, data::text, request_id, traceparent, subscriber, place, after, attempts,
      to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
    from numbered full join deliveries on event_id = id
    order by id, place`
