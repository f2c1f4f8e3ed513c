import type { Sql } from 'postgres'
import { type Database, sql, type Transaction } from '../../kit/tables.ts'
import { firstIdOf, type Subscriber } from './outbox.ts'
import { isOutside } from './outside/outside.ts'
import { sequenceAll } from './sequence.ts'

/** Keys whose history is delivered in one transaction; relays wait for it. */
const KEYS = 100

/** An event, and one that is told of it. */
export interface Subscribed {
  readonly event: string
  readonly subscriber: Subscriber
}

/**
 * Delivers events of the outbox to one subscriber once more: those since a moment, in the order of each key, after
 * everything that the subscriber was sent before and before anything that is published from now on.
 *
 * @param since milliseconds since 1970
 * @returns how many
 */
export async function replay(
  { db, sql: client }: { db: Database; sql: Sql },
  module: string,
  subscribed: readonly Subscribed[],
  since: number,
): Promise<number> {
  // Also what a crash has undone: subscribers may have its numbers already, which no other event may be given.
  await sequenceAll(client, module)
  return deliver(db, subscribed, { since, again: true })
}

/**
 * Gives new subscribers that ask for it all history that is kept. To be done before this process publishes anything: then
 * history comes first. Several may do it at once, and one that is interrupted is continued.
 */
export async function giveHistory(
  { db, sql: client }: { db: Database; sql: Sql },
  module: string,
  subscribed: readonly Subscribed[],
): Promise<void> {
  const asking = subscribed.filter(({ subscriber }) => subscriber.replay)
  if (asking.length === 0) return
  const given = await db.execute<{ subscriber: string; event: string }>(
    sql`select subscriber, event from outbox_history`,
  )
  const isNew = ({ event, subscriber }: Subscribed) =>
    !given.some((row) => row.subscriber === subscriber.name && row.event === event)
  const fresh = asking.filter(isNew)
  // What the last process left behind was published for the subscribers that there were then: it becomes history, too.
  if (fresh.length > 0) await sequenceAll(client, module)
  for (const [name, group] of Map.groupBy(fresh, ({ subscriber }) => subscriber.name)) {
    await deliver(db, group, { since: 0, again: false })
    for (const { event } of group)
      await db.execute(
        sql`insert into outbox_history (subscriber, event) values (${name}, ${event}) on conflict do nothing`,
      )
  }
}

interface Choice {
  since: number
  /** Also what the subscriber was sent before. */
  again: boolean
}

async function deliver(db: Database, subscribed: readonly Subscribed[], choice: Choice): Promise<number> {
  let count = 0
  let last: string | null = null
  for (;;) {
    const chosen: { key: string }[] = await db.execute<{ key: string }>(sql`
      select distinct key from outbox
      where ${isChosen(subscribed, choice)} and (${last}::text is null or key > ${last}::text)
      order by key limit ${sql.raw(String(KEYS))}`)
    const keys = chosen.map(({ key }) => key)
    if (keys.length === 0) return count
    // Others lock keys too, so nothing may be waited for while something is locked.
    const free = await db.transaction(async (tx) => {
      const locked = await lock(tx, keys, sql`for update skip locked`)
      count += await deliverKeys(tx, locked, subscribed, choice)
      return new Set(locked)
    })
    for (const key of keys.filter((key) => !free.has(key)))
      count += await db.transaction(async (tx) =>
        deliverKeys(tx, await lock(tx, [key], sql`for update`), subscribed, choice),
      )
    last = keys.at(-1)!
  }
}

async function lock(tx: Transaction, keys: readonly string[], how: ReturnType<typeof sql>): Promise<string[]> {
  const rows = await tx.execute<{ key: string }>(sql`
    select key from outbox_keys where key in (select jsonb_array_elements_text(${JSON.stringify(keys)}::jsonb)) ${how}`)
  return rows.map(({ key }) => key)
}

/** Not in the statement that locks: what was published until then would not be seen. */
async function deliverKeys(
  tx: Transaction,
  keys: readonly string[],
  subscribed: readonly Subscribed[],
  choice: Choice,
): Promise<number> {
  const { name } = subscribed[0]!.subscriber
  const unordered = subscribed.filter(({ subscriber }) => subscriber.unordered).map(({ event }) => event)
  // At a system outside what is replayed waits for no other that is, and news for the one that was published before it.
  const outside = isOutside(name)
  const before = outside ? sql`null` : sql`lag(place) over (partition by key, unordered order by sequence)`
  const [row] = await tx.execute<{ count: number }>(sql`
    with history as materialized (
      select id, key, sequence, name in (select jsonb_array_elements_text(${JSON.stringify(unordered)}::jsonb)) as unordered
      from outbox
      where key in (select jsonb_array_elements_text(${JSON.stringify(keys)}::jsonb)) and ${isChosen(subscribed, choice)}
      for key share
    ), placed as (
      select id, key, sequence, unordered, sent, last + row_number() over (partition by key order by sequence) as place
      from history join outbox_keys using (key)
    ), deliveries as (
      insert into outbox_deliveries (event_id, subscriber, place, after)
      select id, ${name}, place, case when not unordered then coalesce(${before}, (sent ->> ${name}::text)::bigint, 0) end
      from placed
    ), moved as (
      update outbox_keys as known set last = moved.last, sent = known.sent || moved.sent
      from (
        select key, max(place) as last, case when ${outside} or bool_and(unordered) then '{}'
          else jsonb_build_object(${name}::text, max(place) filter (where not unordered)) end as sent
        from placed group by key) as moved
      where known.key = moved.key
    )
    select count(*)::int as count from placed`)
  return row!.count
}

function isChosen(subscribed: readonly Subscribed[], { since, again }: Choice) {
  const names = JSON.stringify(subscribed.map(({ event }) => event))
  const { name } = subscribed[0]!.subscriber
  const isMissing = sql`and not exists (
    select from outbox_deliveries where event_id = outbox.id and subscriber = ${name})`
  return sql`name in (select jsonb_array_elements_text(${names}::jsonb)) and id >= ${firstIdOf(since)}::uuid
    ${again ? sql`` : isMissing}`
}
