import type { Sql } from 'postgres'
import { Counter, Gauge, type Registry } from 'prom-client'
import { type Durations, exposeDurations } from '../ops/durations.ts'
import { within } from '../within.ts'
import type { Transport } from './delivery.ts'
import { PARKED } from './inbox.ts'

/** More than so many events are not counted one by one: whoever looks needs to know no more than that. */
const MOST = 100_000
/** How long a database is waited for while metrics are collected, in milliseconds. */
const PATIENCE = 1_000

/** What a module has done with one kind of event. */
export interface HandlerStats {
  handled: number
  failed: number
  /** Spent in the handler and its transaction, whatever became of it. */
  milliseconds: number
  /** From the publication to the effect. */
  readonly lag: Durations
}

/** What metrics need of each module that is hosted here. */
export interface EventsOf {
  readonly name: string
  readonly sql: Sql
  /** By the name of the event. */
  readonly handlers: ReadonlyMap<string, HandlerStats>
  readonly queue?: Pick<Transport, 'waiting'>
  /** The systems outside that its events are handed to. */
  readonly outside: readonly Pick<EventsOf, 'name' | 'handlers'>[]
}

/**
 * Exposes what becomes of events. Read from the modules' databases when somebody scrapes, so any replica of a module says the
 * same: `seam_events_unconfirmed` and `seam_events_oldest_unconfirmed_seconds` (`module`, `subscriber`), `seam_events_waiting`,
 * `seam_events_parked` and `seam_events_dead` (`module`: the subscriber), and `seam_queue_messages` (`module`). Of this process alone:
 * `seam_events_handled_total`, `seam_event_failures_total`, `seam_event_handler_seconds_total` and `seam_event_lag_seconds`
 * (`module`, `event`). A system outside that is told of events is a `subscriber` like any module, and has a `module` of its
 * name, e.g. `webhook:crm`.
 */
export function exposeEvents(registry: Registry, modules: readonly EventsOf[]): void {
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    collect: (gauge: Gauge, module: EventsOf) => Promise<void>,
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        this.reset()
        // What a database does not say in time is missing: metrics of everything else matter most when one is down.
        await within(PATIENCE, Promise.allSettled(modules.map((module) => collect(this, module))))
      },
    })
  const toEach = ['module', 'subscriber']
  gauge(
    'seam_events_unconfirmed',
    'Events that a subscriber has not confirmed.',
    toEach,
    async (gauge, { name, sql }) => {
      const rows = await sql`
      select subscriber, count(*)::int as count from (${openIn(sql)}) as open group by subscriber`
      for (const { subscriber, count } of rows) gauge.set({ module: name, subscriber }, count)
    },
  )
  gauge(
    'seam_events_oldest_unconfirmed_seconds',
    'Age of the oldest of these.',
    toEach,
    async (gauge, { name, sql }) => {
      const rows = await sql`
      select subscriber, extract(epoch from now() - min(created_at))::float8 as age
      from (${openIn(sql)}) as open group by subscriber`
      for (const { subscriber, age } of rows) gauge.set({ module: name, subscriber }, age)
    },
  )
  const kept = (name: string, help: string, isDead: boolean) =>
    gauge(name, help, ['module'], async (gauge, module) => {
      const [row] = await module.sql`
        select count(*)::int as count
        from (select from inbox where (dead_at is not null) = ${isDead} limit ${module.sql.unsafe(String(MOST))}) as kept`
      gauge.set({ module: module.name }, row!.count)
      if (!isDead) return
      const dead = await module.sql`
        select subscriber, count(*)::int as count
        from (
          select subscriber from outbox_deliveries
          where dead_at is not null and confirmed_at is null limit ${module.sql.unsafe(String(MOST))}) as kept
        group by subscriber`
      // Several modules may have events for it.
      for (const { name } of module.outside) gauge.inc({ module: name }, 0)
      for (const { subscriber, count } of dead) gauge.inc({ module: subscriber }, count)
    })
  kept('seam_events_waiting', 'Events that wait in an inbox for their turn or for another attempt.', false)
  kept('seam_events_dead', 'Events that were tried in vain and hold back their key.', true)
  gauge(
    'seam_events_parked',
    'Events in an inbox that are of a newer version than any process there knows, or of no known kind.',
    ['module'],
    async (gauge, { name, sql }) => {
      const [row] = await sql`
        select count(*)::int as count from (
          select from inbox where ${sql.unsafe(PARKED)} limit ${sql.unsafe(String(MOST))}) as parked`
      gauge.set({ module: name }, row!.count)
    },
  )

  gauge(
    'seam_queue_messages',
    'Messages in the queue of a module, or under way from it.',
    ['module'],
    async (gauge, module) => {
      const waiting = await module.queue?.waiting(module.name)
      if (waiting !== undefined) gauge.set({ module: module.name }, waiting)
    },
  )
  exposeDurations(registry, 'seam_event_lag_seconds', 'From the publication of an event to its effect.', function* () {
    for (const { name, handlers } of modules.flatMap((module) => [module, ...module.outside]))
      for (const [event, { lag }] of handlers) yield { labels: { module: name, event }, durations: lag }
  })

  const counter = (name: string, help: string, value: (stats: HandlerStats) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['module', 'event'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { name, handlers } of modules.flatMap((module) => [module, ...module.outside]))
          for (const [event, stats] of handlers) this.inc({ module: name, event }, value(stats))
      },
    })
  counter('seam_events_handled_total', 'Events that took effect.', ({ handled }) => handled)
  counter('seam_event_failures_total', 'Attempts to handle an event that failed.', ({ failed }) => failed)
  counter('seam_event_handler_seconds_total', 'Time spent in handlers.', ({ milliseconds }) => milliseconds / 1000)
}

/**
 * What is new or unconfirmed, the oldest first: that of modules and that of systems outside, so that neither hides the other.
 * Not what was given up: it is among the dead, and would make a system outside look late for as long as it is kept.
 */
const openIn = (sql: Sql) => {
  const most = sql.unsafe(String(MOST))
  const open = sql`
    select subscriber, created_at from outbox_deliveries join outbox on id = event_id where confirmed_at is null`
  return sql`
    (${open} and subscriber not like '%:%' order by event_id limit ${most}) union all
    (${open} and dead_at is null and subscriber like '%:%' order by event_id limit ${most}) union all
    (select told.name, created_at from outbox_new, jsonb_to_recordset(subscribers) as told (name text)
      order by serial limit ${most})`
}
