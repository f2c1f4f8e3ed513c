// A module that publishes and one that subscribes, in one process, as the application composes them.

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { alpha, type Effect, eventHost, eventMigrations, writeEffect } from '../../test/support/event-host.ts'
import { serve } from '../lib/children.ts'
import { quantile } from '../lib/numbers.ts'

/** Keys among which the events of a round are spread. */
const KEYS = 1_000
/** Writers at the same time. */
const WRITERS = 32

type Question =
  | { ask: 'drain'; events: number }
  | { ask: 'latency'; events: number }
  | { ask: 'write'; how: 'alone' | 'with its event' | 'in a transaction'; milliseconds: number }

export interface Latency {
  p50: number
  p99: number
}

await serve<{ env: Record<string, string>; writes: boolean }>(async ({ env, writes }) => {
  const migrations = await eventMigrations()
  let left = 0
  let done = () => {}
  const count: Effect = async () => {
    if (--left === 0) done()
  }
  const effect: Effect = async (event, handling) => {
    if (writes) await writeEffect(event, handling)
    await count(event, handling)
  }
  const host = await eventHost({
    env,
    migrations: migrations.folder,
    subscribers: ['beta'],
    effects: { beta: effect },
  })
  await migrations.remove()
  const sql = postgres(env.DATABASE_URL!, { max: 1, onnotice: () => {} })
  const { db, publishWith, publish } = host.module('alpha')
  const event = alpha.events.happened
  let round = 0

  const handled = (events: number) => {
    left = events
    return new Promise<void>((resolve) => (done = resolve))
  }

  /** All are committed at once; then the clock runs until the last one has been handled. */
  const drain = async (events: number) => {
    await host.start()
    round++
    const all = handled(events)
    await sql`
      insert into alpha.outbox_new (id, name, version, key, data, subscribers)
      select uuidv7(), 'thing.happened', 1, key, jsonb_build_object('key', key, 'n', i), '[{"name": "beta"}]'
      from (select i, ${`round ${round} key `} || i % ${KEYS}::int as key from generate_series(0, ${events - 2}::int) as i) as made
      order by i`
    const began = performance.now()
    // It wakes the relay.
    await host.publish(`round ${round}`, 0)
    await all
    const perSecond = (events / (performance.now() - began)) * 1000
    // Confirmations would take their time from whoever is next.
    const open = () =>
      sql`
        select from alpha.outbox_new
        union all select from alpha.outbox_deliveries where confirmed_at is null limit 1`
    while ((await open()).length > 0) await sleep(10)
    // One by one: a relay that looks meanwhile takes its locks in another order.
    for (const table of ['outbox_new', 'outbox', 'outbox_deliveries', 'outbox_keys'])
      await sql`truncate alpha.${sql(table)}`
    await sql`truncate beta.inbox_keys, beta.effects`
    return perSecond
  }

  const latency = async (events: number): Promise<Latency> => {
    await host.start()
    const times: number[] = []
    for (let n = 0; n < events; n++) {
      const one = handled(1)
      await host.publish(`latency ${n % 100}`, n)
      const committed = performance.now()
      await one
      times.push(performance.now() - committed)
      await sleep(5)
    }
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
  }

  /** Nobody relays meanwhile, for that is not the writer's part. */
  const write = async (how: Extract<Question, { ask: 'write' }>['how'], milliseconds: number) => {
    const { effects } = await import('./tables.ts')
    const until = performance.now() + milliseconds
    let n = 0
    const ways = {
      alone: () =>
        db
          .insert(effects)
          .values({ key: `${n}`, n })
          .returning({ n: effects.n }),
      'with its event': (key: string) =>
        publishWith(db.insert(effects).values({ key, n }).returning({ n: effects.n }), event, { key, n }),
      'in a transaction': (key: string) =>
        db.transaction(async (tx) => {
          await tx.insert(effects).values({ key, n })
          await publish(tx, event, { key, n })
        }),
    }
    let written = 0
    const writer = async (i: number) => {
      for (; performance.now() < until; written++) await ways[how](`writer ${i} ${n++ % KEYS}`)
    }
    await Promise.all(Array.from({ length: WRITERS }, (_, i) => writer(i)))
    await sql`truncate alpha.outbox_new, alpha.outbox, alpha.outbox_deliveries, alpha.outbox_keys, alpha.effects`
    return (written / milliseconds) * 1000
  }

  return {
    answer: (question: Question) => {
      if (question.ask === 'drain') return drain(question.events)
      return question.ask === 'latency' ? latency(question.events) : write(question.how, question.milliseconds)
    },
  }
})
