import { type Database, sql } from '../../kit/tables.ts'
import type { Delivery } from './delivery.ts'
import type { Failure } from './failure.ts'
import { PARKED } from './inbox.ts'

/** An event that does not take effect by itself, and holds back the later ones of its key. */
export interface StuckEvent {
  delivery: Delivery
  /** `dead`: it was tried in vain. `parked`: no process that looked at it knows its version or its kind. */
  state: 'dead' | 'parked'
  /** Since when it is dead, or since when a parked one is here. ISO 8601, UTC. */
  since: string
  attempts: number
  /** The last one first, ten at most. */
  errors: Failure[]
  /** The same as `since`; null: it is not dead. */
  deadAt: string | null
  /** How many later events of its key wait for it here. */
  waiting: number
}

type Row = Omit<StuckEvent, 'delivery' | 'errors' | 'deadAt'> & { event: string; errors: string }

const STUCK = sql.raw(`(dead_at is not null or (${PARKED}))`)
const chosen = (id: string | undefined) => (id === undefined ? sql`` : sql`and event_id = ${id}::uuid`)

/**
 * The events of a module's inbox that are stuck: the dead ones, then the parked ones, the oldest first.
 *
 * @param options.limit how many of each
 * @param options.id that one alone
 */
export async function stuckEvents(
  db: Database,
  { limit, id }: { limit: number; id?: string | undefined },
): Promise<StuckEvent[]> {
  const rows = await db.execute<Row>(sql`
    with stuck as (
      (select *, 'dead' as state, dead_at as since from inbox where dead_at is not null ${chosen(id)}
        order by dead_at, event_id limit ${limit})
      union all
      (select *, 'parked', arrived_at from inbox where ${sql.raw(PARKED)} ${chosen(id)}
        order by arrived_at, event_id limit ${limit})
    )
    select event::text, state, attempts, errors::text,
      to_char(since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since,
      (select count(*)::int from inbox as later
        where later.publisher = stuck.publisher and later.key = stuck.key
          and later.place > stuck.place and later.after is not null and stuck.after is not null) as waiting
    from stuck order by state, stuck.since, event_id`)
  return rows.map(({ event, errors, state, since, ...row }) => ({
    delivery: JSON.parse(event),
    state,
    since,
    ...row,
    errors: JSON.parse(errors),
    deadAt: state === 'dead' ? since : null,
  }))
}

/**
 * Has stuck events tried again, with as many attempts as new ones have. What is parked is looked at now, and stays parked if
 * still nobody knows it.
 *
 * @param id of one; without it all of them, at most 1,000 at a time
 * @returns how many
 */
export async function redrive(db: Database, id?: string): Promise<number> {
  const rows = await db.execute(sql`
    update inbox set dead_at = null, attempts = 0, due_at = now()
    where (event_id, place) in (
      select event_id, place from inbox where ${STUCK} ${chosen(id)} order by dead_at limit 1000 for update skip locked)
    returning 1`)
  return rows.length
}

/** What comes before an event has not had its turn. */
class EarlierFirst extends Error {
  readonly statusCode = 409
}

/**
 * Gives up a stuck event: it will have no effect, and the next one of its key has its turn. One that is stuck twice, because
 * it was replayed, is given up where it came first.
 *
 * @returns the event, whose publisher waits for a confirmation; undefined when there is no such stuck event
 * @throws {EarlierFirst} when an earlier event of its key has not had its turn: that would be passed over
 */
export async function discard(db: Database, id: string): Promise<Delivery | undefined> {
  return db.transaction(async (tx) => {
    const [row] = await tx.execute<{ event: string }>(sql`
      delete from inbox where (event_id, place) in (
        select event_id, place from inbox where ${STUCK} ${chosen(id)} order by place limit 1 for update)
      returning event::text`)
    if (!row) return undefined
    const delivery: Delivery = JSON.parse(row.event)
    const { publisher, key, place, after } = delivery
    if (after === null) {
      await tx.execute(
        sql`insert into inbox_done (event_id, place) values (${id}::uuid, ${place}) on conflict do nothing`,
      )
      return delivery
    }
    const passed = await tx.execute(sql`
      insert into inbox_keys as keys (publisher, key, last)
      select ${publisher}, ${key}, ${place}::bigint
      where ${after}::bigint <= coalesce((select last from inbox_keys where publisher = ${publisher} and key = ${key}), 0)
      on conflict (publisher, key) do update set before = keys.last, last = greatest(keys.last, excluded.last)
      returning 1`)
    if (passed.length === 0) throw new EarlierFirst(`An earlier event of the key ${key} comes before the event ${id}.`)
    return delivery
  })
}
