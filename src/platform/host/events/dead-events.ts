import { type Database, sql } from '../../kit/tables.ts'
import type { Delivery } from './delivery.ts'
import type { Failure } from './failure.ts'

/** An event that was tried in vain, and holds back the later ones of its key. */
export interface DeadEvent {
  delivery: Delivery
  attempts: number
  /** The last one first, ten at most. */
  errors: Failure[]
  /** ISO 8601, UTC. */
  deadAt: string
  /** How many later events of its key wait for it here. */
  waiting: number
}

type Row = { event: string; attempts: number; errors: string; dead_at: string; waiting: number }

/** The events of a module's inbox that are dead, the oldest first; with `id`, that one alone. */
export async function deadEvents(
  db: Database,
  options: { limit: number; id?: string | undefined },
): Promise<DeadEvent[]> {
  const chosen = options.id === undefined ? sql`` : sql`and event_id = ${options.id}::uuid`
  const rows = await db.execute<Row>(sql`
    select event::text, attempts, errors::text,
      to_char(dead_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as dead_at,
      (select count(*)::int from inbox as later
        where later.publisher = dead.publisher and later.key = dead.key
          and later.place > dead.place and later.after is not null and dead.after is not null) as waiting
    from inbox as dead where dead_at is not null ${chosen}
    order by dead.dead_at, event_id limit ${options.limit}`)
  return rows.map(({ event, attempts, errors, dead_at, waiting }) => ({
    delivery: JSON.parse(event),
    attempts,
    errors: JSON.parse(errors),
    deadAt: dead_at,
    waiting,
  }))
}

/**
 * Has dead events tried again, with as many attempts as new ones have.
 *
 * @param id of one; without it all of them, at most 1,000 at a time
 * @returns how many
 */
export async function redrive(db: Database, id?: string): Promise<number> {
  const chosen = id === undefined ? sql`` : sql`and event_id = ${id}::uuid`
  const rows = await db.execute(sql`
    update inbox set dead_at = null, attempts = 0, due_at = now()
    where (event_id, place) in (
      select event_id, place from inbox where dead_at is not null ${chosen} order by dead_at limit 1000 for update skip locked)
    returning 1`)
  return rows.length
}

/** What comes before an event has not had its turn. */
class EarlierFirst extends Error {
  readonly statusCode = 409
}

/**
 * Gives up a dead event: it will have no effect, and the next one of its key has its turn. One that is dead twice, because it
 * was replayed, is given up where it came first.
 *
 * @returns the event, whose publisher waits for a confirmation; undefined when there is no such dead event
 * @throws {EarlierFirst} when an earlier event of its key has not had its turn: that would be passed over
 */
export async function discard(db: Database, id: string): Promise<Delivery | undefined> {
  return db.transaction(async (tx) => {
    const [row] = await tx.execute<{ event: string }>(sql`
      delete from inbox where (event_id, place) in (
        select event_id, place from inbox where event_id = ${id}::uuid and dead_at is not null order by place limit 1)
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
