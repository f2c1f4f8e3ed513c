import type { Sql } from 'postgres'
import { type Delivery, deliveryOf } from '../delivery.ts'
import { type Failure, KEPT_ERRORS } from '../failure.ts'

/** An event that is to be handed over now. */
export interface Taken {
  event: Delivery
  /** How often it has been taken, this time included. */
  attempts: number
}

/**
 * Takes up to `limit` deliveries to a system outside that are due, and puts each off by `seconds`: if nobody says by then
 * what became of it, it is taken again. One whose key has an earlier one that was not accepted is left where it is. Any
 * number of processes may do this at once; none waits for another.
 */
export async function takeDueTo(
  db: Sql,
  { module, subscriber, limit, seconds }: { module: string; subscriber: string; limit: number; seconds: number },
): Promise<Taken[]> {
  const rows = await db`
    with due as (
      select d.event_id, d.place from outbox_deliveries as d join outbox as event on event.id = d.event_id
      where d.subscriber = ${subscriber} and d.subscriber like '%:%' and d.confirmed_at is null and d.dead_at is null
        and d.due_at <= now() and not exists (
          select from outbox as earlier join outbox_deliveries as open on open.event_id = earlier.id
          where earlier.key = event.key and earlier.sequence = d.after and open.place = d.after
            and open.subscriber = d.subscriber and open.confirmed_at is null)
      order by d.due_at, d.event_id
      limit ${db.unsafe(String(limit))}
      for update of d skip locked
    ), taken as (
      update outbox_deliveries as d set due_at = now() + make_interval(secs => ${seconds}), attempts = d.attempts + 1
      from due where d.event_id = due.event_id and d.subscriber = ${subscriber} and d.place = due.place
      returning d.event_id, d.place, d.after, d.attempts
    )
    select taken.attempts, taken.place, taken.after, outbox.id, outbox.name, outbox.version, outbox.key, outbox.sequence, outbox.data::text,
      outbox.request_id, outbox.traceparent, to_char(outbox.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
    from taken join outbox on outbox.id = taken.event_id
    order by outbox.id`
  return rows.map((row) => ({
    attempts: row.attempts,
    event: deliveryOf(module, row),
  }))
}

/** What becomes of a delivery that was not accepted. */
export type Next =
  | { kind: 'again'; seconds: number; failure: Failure }
  /** As if it had not been tried. */
  | { kind: 'later'; seconds: number }
  | { kind: 'dead'; failure: Failure }

/** Notes what becomes of a delivery that was not accepted. */
export async function notAccepted(db: Sql, subscriber: string, { id, place }: Delivery, next: Next): Promise<void> {
  const seconds = next.kind === 'dead' ? 0 : next.seconds
  const errors = next.kind === 'later' ? [] : [next.failure]
  await db`
    update outbox_deliveries set
      due_at = now() + make_interval(secs => ${seconds}),
      attempts = attempts - ${next.kind === 'later' ? 1 : 0},
      dead_at = case when ${next.kind === 'dead'} then now() end,
      errors = (select jsonb_agg(error) from (
        select error from jsonb_array_elements(${JSON.stringify(errors)}::text::jsonb || coalesce(errors, '[]'))
          with ordinality as all_of(error, n)
        order by n limit ${KEPT_ERRORS}) as kept)
    where event_id = ${id}::uuid and place = ${place} and subscriber = ${subscriber} and confirmed_at is null`
}
