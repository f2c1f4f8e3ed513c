import { type Database, sql, type Transaction } from '../../kit/tables.ts'
import type { Delivery } from './delivery.ts'

/** How many of the errors of one event are kept. */
const KEPT_ERRORS = 10

/** Whether an event may take effect now: it may; it has already; or it must wait, for an earlier one or for its next attempt. */
export type Turn = 'mine' | 'past' | 'later'

/** An event that has arrived and has not taken effect. */
export interface Waiting {
  delivery: Delivery
  attempts: number
}

/** What went wrong with an event, once. */
export interface Failure {
  /** ISO 8601, UTC. */
  at: string
  message: string
  stack: string
}

/**
 * Takes an event's turn in the transaction of its handler: no other event of its key is handled until that has ended, and
 * if it is rolled back nobody has had the turn. One statement, which waits for nobody.
 *
 * @param kept whether the event comes from the inbox; one that is kept there is not handled when it is delivered once more
 */
export async function takeTurn(tx: Transaction, delivery: Delivery, kept: boolean): Promise<Turn> {
  const { id, publisher, key, sequence, after } = delivery
  const [row] = await tx.execute<{ mine: boolean; past: boolean }>(sql`
    with known as (
      select last from inbox_keys where publisher = ${publisher} and key = ${key}
    ), turn as materialized (
      select case
        when coalesce((select last from known), 0) not between ${after}::bigint and ${sequence}::bigint - 1 then false
        when exists (select from inbox where event_id = ${id}::uuid and (not ${kept} or dead_at is not null)) then false
        else pg_try_advisory_xact_lock(hashtextextended(${publisher} || ' ' || ${key}, 0)) end as is_mine
    ), taken as (
      insert into inbox_keys as keys (publisher, key, last)
      select ${publisher}, ${key}, ${sequence}::bigint from turn where is_mine
      on conflict (publisher, key) do update set last = excluded.last
      where keys.last >= ${after}::bigint and keys.last < excluded.last
      returning 1
    ), emptied as (
      delete from inbox where event_id = ${id}::uuid and ${kept} and exists (select from taken)
    )
    select exists (select from taken) as mine, coalesce((select last from known), 0) >= ${sequence}::bigint as past`)
  if (row!.mine) return 'mine'
  return row!.past ? 'past' : 'later'
}

/**
 * Keeps an event until its turn comes.
 *
 * @returns false if it is kept already, for its turn or for its next attempt
 */
export async function keep(db: Database, delivery: Delivery): Promise<boolean> {
  const { id, publisher, key, sequence, after } = delivery
  const rows = await db.execute(sql`
    insert into inbox (event_id, publisher, key, sequence, after, event)
    values (${id}::uuid, ${publisher}, ${key}, ${sequence}, ${after}, ${JSON.stringify(delivery)}::jsonb)
    on conflict do nothing returning 1`)
  return rows.length > 0
}

/** Has an event wait for its turn again. */
export async function putBack(db: Database, { id }: Delivery): Promise<void> {
  await db.execute(sql`update inbox set due_at = null where event_id = ${id}::uuid`)
}

/** Removes an event that has taken effect. */
export async function forget(db: Database, { id }: Delivery): Promise<void> {
  await db.execute(sql`delete from inbox where event_id = ${id}::uuid`)
}

/**
 * Keeps an event that could not be handled, with what went wrong.
 *
 * @param next in how many seconds it is tried again; `never`: it is dead, and holds back its key until somebody decides
 */
export async function keepFailed(
  db: Database,
  delivery: Delivery,
  failure: Failure,
  next: { seconds: number; counts: boolean } | 'never',
): Promise<void> {
  const { id, publisher, key, sequence, after } = delivery
  const [due, dead] =
    next === 'never'
      ? [sql`null`, sql`now()`]
      : [sql`now() + make_interval(secs => ${next.seconds})`, sql`null::timestamptz`]
  const attempt = next === 'never' || next.counts ? 1 : 0
  await db.execute(sql`
    insert into inbox as known (event_id, publisher, key, sequence, after, event, attempts, errors, due_at, dead_at)
    values (${id}::uuid, ${publisher}, ${key}, ${sequence}, ${after}, ${JSON.stringify(delivery)}::jsonb,
      ${attempt}, jsonb_build_array(${JSON.stringify(failure)}::jsonb), ${due}, ${dead})
    on conflict (event_id) do update set attempts = known.attempts + excluded.attempts, due_at = excluded.due_at,
      dead_at = excluded.dead_at,
      errors = (select jsonb_agg(error) from (
        select error from jsonb_array_elements(excluded.errors || known.errors) with ordinality as all_of(error, n)
        order by n limit ${KEPT_ERRORS}) as kept)`)
}

/** The next event of a key, if it is here and its turn has come. */
export async function nextOf(db: Database, { publisher, key, sequence }: Delivery): Promise<Waiting | undefined> {
  const [row] = await db.execute<Row>(sql`
    select event::text, attempts from inbox
    where publisher = ${publisher} and key = ${key} and sequence > ${sequence} and after <= ${sequence}
      and due_at is null and dead_at is null
    order by sequence limit 1`)
  return row && waiting(row)
}

/**
 * Takes events whose next attempt is due, or whose turn has come while nobody looked, at most `limit`; for `seconds` nobody
 * else takes them.
 */
export async function takeDue(db: Database, limit: number, seconds: number): Promise<Waiting[]> {
  const rows = await db.execute<Row>(sql`
    with due as (
      select event_id from inbox where dead_at is null and due_at <= now()
      union
      select event_id from inbox left join inbox_keys using (publisher, key)
      where dead_at is null and due_at is null and after <= coalesce(last, 0)
    ), taken as (
      select event_id from inbox where event_id in (select event_id from due)
      order by sequence limit ${sql.raw(String(limit))} for update skip locked
    )
    update inbox set due_at = now() + make_interval(secs => ${seconds})
    from taken where inbox.event_id = taken.event_id
    returning event::text, attempts`)
  return rows.map(waiting).sort((a, b) => a.delivery.sequence - b.delivery.sequence)
}

type Row = { event: string; attempts: number }
const waiting = ({ event, attempts }: Row): Waiting => ({ delivery: JSON.parse(event), attempts })
