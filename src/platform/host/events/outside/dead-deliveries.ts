import type { Sql } from 'postgres'
import { deliveryOf } from '../delivery.ts'
import type { StuckEventsOf } from '../events-task.ts'
import type { StuckEvent } from '../stuck-events.ts'

/** What operators can do about the events of a module that a system outside has not accepted. */
export function deadDeliveries(db: Sql, module: string, subscriber: string): StuckEventsOf {
  const chosen = (id: string | undefined) => (id === undefined ? db`` : db`and event_id = ${id}::uuid`)
  return {
    name: subscriber,
    async stuckEvents({ limit, id }) {
      // What is replayed waits for what was sent before it, and nothing waits for what is replayed.
      const rows = await db`
        select d.attempts, d.place, d.after, d.errors::text, event.id, event.name, event.version, event.key, event.sequence,
          event.data::text, event.request_id, event.traceparent,
          to_char(d.dead_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as dead_at,
          to_char(event.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at,
          (select count(*)::int from outbox as later join outbox_deliveries as open on open.event_id = later.id
            where later.key = event.key and open.after >= d.place and d.place = event.sequence
              and open.subscriber = d.subscriber and open.confirmed_at is null) as waiting
        from outbox_deliveries as d join outbox as event on event.id = d.event_id
        where d.subscriber = ${subscriber} and d.dead_at is not null and d.confirmed_at is null ${chosen(id)}
        order by d.dead_at, d.event_id limit ${limit}`
      return rows.map(
        (row): StuckEvent => ({
          delivery: deliveryOf(module, row),
          state: 'dead',
          since: row.dead_at,
          attempts: row.attempts,
          errors: JSON.parse(row.errors),
          deadAt: row.dead_at,
          waiting: row.waiting,
        }),
      )
    },
    async redrive(id) {
      const rows = await db`
        update outbox_deliveries set dead_at = null, attempts = 0, due_at = now()
        where subscriber = ${subscriber} and (event_id, place) in (
          select event_id, place from outbox_deliveries
          where subscriber = ${subscriber} and dead_at is not null and confirmed_at is null ${chosen(id)}
          order by dead_at limit 1000 for update skip locked)`
      return rows.count
    },
    async discard(id) {
      const rows = await db`
        update outbox_deliveries set confirmed_at = now()
        where subscriber = ${subscriber} and dead_at is not null and confirmed_at is null and event_id = ${id}::uuid`
      return rows.count > 0
    },
  }
}
