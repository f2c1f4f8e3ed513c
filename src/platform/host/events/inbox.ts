import { type Database, sql, type Transaction } from '../../kit/tables.ts'
import type { Delivery, DeliveryId } from './delivery.ts'
import { type Failure, KEPT_ERRORS } from './failure.ts'

/** What may take effect now, what has already, and what must wait, for an earlier one or for its next attempt. */
export interface Turns<W extends Waiting = Waiting> {
  mine: W[]
  past: W[]
  later: W[]
}

/**
 * As a condition on `inbox`: no process that looked at the event knows its version or its kind. It is looked at again, without
 * end.
 */
export const PARKED = "dead_at is null and due_at is not null and errors -> 0 ->> 'parked' = 'true'"

/** An event that has arrived and has not taken effect. */
export interface Waiting {
  delivery: Delivery
  attempts: number
  /** Until when it belongs to whoever took it from the inbox, as PostgreSQL writes it. */
  until?: string
}

/**
 * Takes the turns of events in the transaction of their handlers: no other event of their keys is handled until that has
 * ended, and if it is rolled back nobody has had the turn. One statement for all, which waits for nobody.
 *
 * @param kept whether the events come from the inbox; one that is kept there is not handled when it is delivered once more
 */
export async function takeTurns<W extends Waiting>(
  tx: Transaction,
  waiting: readonly W[],
  kept: boolean,
): Promise<Turns<W>> {
  const turns: Turns<W> = { mine: [], past: [], later: [] }
  const [inOrder, inAnyOrder] = [waiting.filter(hasOrder), waiting.filter((one) => !hasOrder(one))]
  if (inOrder.length > 0) await takeInOrder(tx, inOrder, kept, turns)
  if (inAnyOrder.length > 0) await takeInAnyOrder(tx, inAnyOrder, kept, turns)
  return turns
}

async function takeInOrder<W extends Waiting>(
  tx: Transaction,
  waiting: readonly W[],
  kept: boolean,
  turns: Turns<W>,
): Promise<void> {
  const byKey = Map.groupBy(waiting, ({ delivery }) => keyOf(delivery))
  const batch = [...byKey.values()].flatMap(firstRun)
  const rows = await tx.execute<{ publisher: string; key: string; last: string; before: string; taken: string }>(sql`
    with batch as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(batch)}::jsonb)
        as batch (publisher text, key text, after bigint, place bigint, id uuid)
    ), known as materialized (
      select publisher, key, coalesce(last, 0) as last
      from (select distinct publisher, key from batch) as keys left join inbox_keys using (publisher, key)
    ), stops as (
      select publisher, key, min(batch.place) as place
      from batch join known using (publisher, key) join inbox using (publisher, key)
      where batch.place > last and event_id = batch.id and inbox.place = batch.place and (not ${kept} or dead_at is not null)
      group by 1, 2
    ), wanted as (
      select publisher, key, min(after) as after, max(batch.place) as place
      from batch left join stops using (publisher, key)
      where stops.place is null or batch.place < stops.place
      group by 1, 2
    ), turns as materialized (
      select publisher, key, place from wanted join known using (publisher, key)
      where case when last between after and place - 1
        then pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', current_schema(), publisher, key), 0)) else false end
    ), taken as (
      insert into inbox_keys as keys (publisher, key, last) select publisher, key, place from turns
      on conflict (publisher, key) do update set before = keys.last, last = excluded.last where keys.last < excluded.last
      returning publisher, key, before, last
    ), emptied as (
      delete from inbox using batch join taken using (publisher, key)
      where ${kept} and event_id = batch.id and inbox.place = batch.place and batch.place <= taken.last
    )
    select publisher, key, known.last, taken.before, taken.last as taken from known left join taken using (publisher, key)`)
  for (const row of rows) {
    const past = Number(row.taken === null ? row.last : row.before)
    const mine = Number(row.taken ?? row.last)
    for (const one of byKey.get(keyOf(row))!) {
      const { place } = one.delivery
      if (place <= past) turns.past.push(one)
      else if (place <= mine) turns.mine.push(one)
      else turns.later.push(one)
    }
  }
}

/** Of the events of one key, put in order: those up to the first gap. Only these can have their turn now. */
function firstRun(waiting: Waiting[]) {
  waiting.sort((a, b) => a.delivery.place - b.delivery.place)
  const gap = waiting.findIndex(({ delivery }, i) => i > 0 && delivery.after! > waiting[i - 1]!.delivery.place)
  return waiting
    .slice(0, gap === -1 ? undefined : gap)
    .map(({ delivery: { publisher, key, after, place, id } }) => ({ publisher, key, after, place, id }))
}

async function takeInAnyOrder<W extends Waiting>(
  tx: Transaction,
  waiting: readonly W[],
  kept: boolean,
  turns: Turns<W>,
): Promise<void> {
  const batch = waiting.map(({ delivery: { id, place } }) => ({ id, place }))
  const rows = await tx.execute<{ mine: boolean; past: boolean }>(sql`
    with batch as materialized (
      select * from rows from (jsonb_to_recordset(${JSON.stringify(batch)}::jsonb) as (id uuid, place bigint))
        with ordinality as batch (id, place, n)
    ), turns as materialized (
      select id, place from batch
      where case
        when exists (select from inbox_done as done where done.event_id = id and done.place = batch.place) then false
        when exists (
          select from inbox where event_id = id and inbox.place = batch.place and (not ${kept} or dead_at is not null)
        ) then false
        else pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', current_schema(), id, place), 0)) end
    ), taken as (
      insert into inbox_done (event_id, place) select distinct id, place from turns on conflict do nothing
      returning event_id, place
    ), emptied as (
      delete from inbox using taken
      where ${kept} and inbox.event_id = taken.event_id and inbox.place = taken.place
    )
    select taken.place is not null as mine,
      exists (select from inbox_done as done where done.event_id = id and done.place = batch.place) as past
    from batch left join taken on taken.event_id = id and taken.place = batch.place order by n`)
  for (const [i, { mine, past }] of rows.entries()) turns[mine ? 'mine' : past ? 'past' : 'later'].push(waiting[i]!)
}

/**
 * Keeps events until their turn comes; those that need no order, until somebody looks again.
 *
 * @returns those that were not kept already, for their turn or for their next attempt
 */
export async function keep(db: Database, waiting: readonly Waiting[]): Promise<Waiting[]> {
  if (waiting.length === 0) return []
  const rows = await db.execute<{ id: string; place: string }>(sql`
    insert into inbox (event_id, publisher, key, place, after, event, due_at)
    select (event ->> 'id')::uuid, event ->> 'publisher', event ->> 'key', (event ->> 'place')::bigint,
      (event ->> 'after')::bigint, event, case when event ->> 'after' is null then now() end
    from jsonb_array_elements(${JSON.stringify(waiting.map(({ delivery }) => delivery))}::jsonb) as event
    on conflict do nothing returning event_id as id, place`)
  const kept = new Set(rows.map(nameOf))
  return waiting.filter(({ delivery }) => kept.has(nameOf(delivery)))
}

/**
 * Has events that {@link takeDue} took wait for their turn again. What somebody else handles, or has taken or put off
 * meanwhile, is theirs.
 */
export async function putBack(db: Database, waiting: readonly Waiting[]): Promise<void> {
  const taken = waiting.filter(({ until }) => until).map(({ delivery: { id, place }, until }) => ({ id, place, until }))
  if (taken.length === 0) return
  await db.execute(sql`
    update inbox set due_at = case when after is null then now() + interval '1 second' end
    where (event_id, place) in (
      select event_id, inbox.place
      from inbox join jsonb_to_recordset(${JSON.stringify(taken)}::jsonb) as taken (id uuid, place bigint, until timestamptz)
        on event_id = id and inbox.place = taken.place and due_at = until
      for update of inbox skip locked)`)
}

/** Whether an event has had its turn: it has taken effect, or was given up. */
export async function isPast(db: Database, { delivery }: Waiting): Promise<boolean> {
  const { id, publisher, key, place, after } = delivery
  const rows = await db.execute(
    after !== null
      ? sql`select from inbox_keys where publisher = ${publisher} and key = ${key} and last >= ${place}`
      : sql`select from inbox_done where event_id = ${id}::uuid and place = ${place}`,
  )
  return rows.length > 0
}

/** Removes events that have taken effect. */
export async function forget(db: Database, waiting: readonly Waiting[]): Promise<void> {
  if (waiting.length === 0) return
  await db.execute(
    sql`delete from inbox using ${listed(waiting)} where event_id = listed.id and inbox.place = listed.place`,
  )
}

/**
 * Keeps an event that could not be handled, with what went wrong.
 *
 * @param next in how many seconds it is tried again; a parked one is only looked at then, which is no attempt. `never`: it is
 * dead, and holds back its key until somebody decides
 */
export async function keepFailed(
  db: Database,
  delivery: Delivery,
  failure: Failure,
  next: { seconds: number; parked?: true } | 'never',
): Promise<void> {
  const { id, publisher, key, place, after } = delivery
  const [due, dead] =
    next === 'never'
      ? [sql`null`, sql`now()`]
      : [sql`now() + make_interval(secs => ${next.seconds})`, sql`null::timestamptz`]
  const parked = next !== 'never' && next.parked
  const error: Failure = parked ? { ...failure, parked } : failure
  await db.execute(sql`
    insert into inbox as known (event_id, publisher, key, place, after, event, attempts, errors, due_at, dead_at)
    values (${id}::uuid, ${publisher}, ${key}, ${place}, ${after}, ${JSON.stringify(delivery)}::jsonb,
      ${parked ? 0 : 1}, jsonb_build_array(${JSON.stringify(error)}::jsonb), ${due}, ${dead})
    on conflict (event_id, place) do update set attempts = known.attempts + excluded.attempts, due_at = excluded.due_at,
      dead_at = excluded.dead_at,
      errors = (select jsonb_agg(error) from (
        select error from jsonb_array_elements(excluded.errors || known.errors) with ordinality as all_of(error, n)
        order by n limit ${KEPT_ERRORS}) as kept)`)
}

/** What waits in the inbox for events that have just taken effect, at most `limit`, in order. */
export async function nextOf(db: Database, handled: readonly Waiting[], limit: number): Promise<Waiting[]> {
  const last = new Map<string, Pick<Delivery, 'publisher' | 'key' | 'place'>>()
  for (const { delivery } of handled.filter(hasOrder)) {
    const { publisher, key, place } = delivery
    if (place > (last.get(keyOf(delivery))?.place ?? 0)) last.set(keyOf(delivery), { publisher, key, place })
  }
  if (last.size === 0) return []
  const rows = await db.execute<Row>(sql`
    select event::text, attempts
    from jsonb_to_recordset(${JSON.stringify([...last.values()])}::jsonb) as handled (publisher text, key text, place bigint),
      lateral (
        select place, event, attempts from inbox
        where publisher = handled.publisher and key = handled.key and place > handled.place
          and due_at is null and dead_at is null
        order by place limit ${sql.raw(String(limit))}
      ) as next
    order by next.place limit ${sql.raw(String(limit))}`)
  return rows.map(waitingOf)
}

/**
 * Takes events whose next attempt is due, or whose turn has come while nobody looked, at most `limit`; for `seconds` nobody
 * else takes them. Of those that wait for their turn it looks at the first of each key.
 */
export async function takeDue(db: Database, limit: number, seconds: number): Promise<Waiting[]> {
  const first = sql`select publisher, key, event_id, place, after from inbox where due_at is null and dead_at is null`
  const rows = await db.execute<Row>(sql`
    with recursive first as (
      (${first} order by publisher, key, place limit 1)
      union all
      select next.* from first, lateral (
        ${first} and (publisher, key) > (first.publisher, first.key) order by publisher, key, place limit 1) as next
    ), due as (
      (select event_id, place from inbox where dead_at is null and due_at <= now() order by due_at limit ${sql.raw(String(limit))})
      union all
      select event_id, place from first left join inbox_keys using (publisher, key)
      where after <= coalesce(last, 0)
    ), taken as (
      select event_id, place from inbox where (event_id, place) in (select event_id, place from due)
      order by place limit ${sql.raw(String(limit))} for update skip locked
    )
    update inbox set due_at = now() + make_interval(secs => ${seconds})
    from taken where inbox.event_id = taken.event_id and inbox.place = taken.place
    returning event::text, attempts, due_at::text as until`)
  return rows.map(waitingOf).sort((a, b) => a.delivery.place - b.delivery.place)
}

/** Removes the notes on events without order that took effect more than `seconds` ago, at most `limit`. */
export async function pruneDone(db: Database, seconds: number, limit: number): Promise<number> {
  const gone = await db.execute(sql`
    delete from inbox_done where (event_id, place) in (
      select event_id, place from inbox_done where done_at < now() - make_interval(secs => ${seconds})
      order by done_at limit ${sql.raw(String(limit))} for update skip locked)
    returning 1`)
  return gone.length
}

type Row = { event: string; attempts: number; until?: string }
const waitingOf = ({ event, ...row }: Row): Waiting => ({ delivery: JSON.parse(event), ...row })
const hasOrder = ({ delivery }: Waiting): boolean => delivery.after !== null
const keyOf = ({ publisher, key }: { publisher: string; key: string }): string => `${publisher} ${key}`
const nameOf = ({ id, place }: { id: string; place: string | number }): string => `${id} ${place}`
/** As part of a statement: `listed (id, place)`. */
const listed = (waiting: readonly Waiting[]) => {
  const ids: DeliveryId[] = waiting.map(({ delivery: { id, place } }) => ({ id, place }))
  return sql`jsonb_to_recordset(${JSON.stringify(ids)}::jsonb) as listed (id uuid, place bigint)`
}
