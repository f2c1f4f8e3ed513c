import type { Sql } from 'postgres'
import type { Delivery } from '../delivery.ts'
import { type Failure, KEPT_ERRORS } from '../failure.ts'
import { type Due, take } from '../outbox.ts'

/**
 * Takes up to `limit` deliveries to a system outside that are due, and puts each off by `seconds`: if nobody says by then
 * what became of it, it is taken again. One whose key has an earlier one that was not accepted is left where it is. Any
 * number of processes may do this at once; none waits for another.
 */
export async function takeDueTo(
  db: Sql,
  { module, subscriber, limit, seconds }: { module: string; subscriber: string; limit: number; seconds: number },
): Promise<Due[]> {
  const due = db`
    select d.event_id, d.subscriber, d.place from outbox_deliveries as d join outbox as event on event.id = d.event_id
    where d.subscriber = ${subscriber} and d.subscriber like '%:%' and d.confirmed_at is null and d.dead_at is null
      and d.due_at <= now() and not exists (
        select from outbox as earlier join outbox_deliveries as open on open.event_id = earlier.id
        where earlier.key = event.key and earlier.sequence = d.after and open.place = d.after
          and open.subscriber = d.subscriber and open.confirmed_at is null)
    order by d.due_at, d.event_id
    limit ${db.unsafe(String(limit))}
    for update of d skip locked`
  return take(db, module, due, db`${seconds}`)
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
