import type { Row, Sql } from 'postgres'
import { UNFLUSHED } from '../data/unflushed.ts'
import { type Due, dueOf } from './outbox.ts'
import { isOutside } from './outside/outside.ts'

/** New events that have been given their places. */
export interface Sequenced {
  /** How many. */
  events: number
  /** Their deliveries to modules, if they were taken. */
  due: Due[]
  /** Whether there is something for a system outside. */
  outside: boolean
}

/** With this limit or a lower one, PostgreSQL finds the first events by their index, however little it knows of the table. */
export const FEW = 100
/** How many events one statement moves at most. */
export const MANY = 500

/**
 * Moves new events on, up to `limit`: gives each its number, which follows that of the key's event that was committed before
 * it, and a delivery for each subscriber. Those to modules are taken with it, for `seconds`; with 0 they are left, due at once.
 * One statement; of several at the same time one waits for the other, because whoever passed over an event would number the
 * next one of its key first. If a crash undoes it, it is done again and gives the same numbers, so subscribers may have them
 * before they are on the disk.
 */
export async function sequence(
  db: Sql,
  module: string,
  { limit, seconds }: { limit: number; seconds: number },
): Promise<Sequenced> {
  const options = { prepare: limit === FEW, simple: false } as object
  const rows = await db.unsafe(statement(limit, seconds), [], options)
  const taken = rows.filter(({ attempts }) => attempts > 0)
  const data = taken[0]?.data === null ? await dataOf(db, taken) : undefined
  return {
    events: new Set(rows.map(({ id }) => id)).size,
    due: taken.map((row) => dueOf(module, data ? { ...row, data: data.get(row.id) } : row)),
    outside: rows.some(({ subscriber }) => subscriber !== null && isOutside(subscriber)),
  }
}

/** Moves all new events on that have been committed before. */
export async function sequenceAll(db: Sql, module: string): Promise<void> {
  while ((await sequence(db, module, { limit: FEW, seconds: 0 })).events === FEW);
}

async function dataOf(db: Sql, rows: readonly Row[]): Promise<Map<string, string>> {
  const ids = `{${[...new Set(rows.map(({ id }) => id))].join(',')}}`
  // Planned anew: one plan for all times may read the whole table.
  const read = await db.unsafe('select id, data::text from outbox where id = any ($1::uuid[])', [ids], {
    prepare: false,
  })
  return new Map(read.map(({ id, data }) => [id, data]))
}

/**
 * Without parameters, so that it is planned once for each connection: planning takes as long as running it for one event. It
 * is planned for a table that is empty, as this one is most of the time. So it has full joins where inner ones would do: these
 * can be no nested loops.
 *
 * It gives the data of events only up to 64 kB in all. An answer that did not fit into the buffers of the network would keep its
 * locks until somebody has read it, and a process that hangs reads nothing.
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
        case when ${seconds} = 0 or subscriber like '%:%' then 0 else 1 end,
        case when subscriber like '%:%' then now() else now() + make_interval(secs => ${seconds}) end
      from (select *, last - count as before from told full join known using (key) offset 0) as placed
      where subscriber is not null
      returning event_id, subscriber, place, after, attempts
    )
    select id, name, version, key, sequence, request_id, traceparent, subscriber, place, after, attempts,
      case when sum(pg_column_size(data)) over () <= 64000 then data::text end as data,
      to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
    from numbered full join deliveries on event_id = id
    where ${UNFLUSHED}
    order by id, place`
