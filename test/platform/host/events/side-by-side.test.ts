// Two releases at the same time, on one database and one queue: each host here is composed as a process is.
import postgres from 'postgres'
import t from 'tap'
import { Type } from 'typebox'
import { defineContract, event, upcast } from '../../../../src/platform/kit/contract.ts'
import {
  type alpha,
  type Effect,
  eventHost,
  eventMigrations,
  happened,
  writeEffect,
} from '../../../support/event-host.ts'
import { freshState } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

const next = defineContract('alpha', {
  events: {
    happened: event('thing.happened', {
      version: 2,
      key: 'key',
      data: Type.Object({ key: Type.String(), n: Type.Integer(), release: Type.Optional(Type.String()) }),
      upcasts: { 1: upcast(happened.data, ({ key, n }) => ({ key, n, release: 'previous' })) },
    }),
  },
}) as unknown as typeof alpha

t.test('a publisher and a subscriber of each release: every event takes effect once, and in order', async (t) => {
  const migrations = await eventMigrations()
  const state = await freshState('redis')
  const sql = postgres(state.env.DATABASE_URL!, { max: 1, onnotice: () => {} })
  const seen = { previous: [] as number[], next: [] as unknown[] }
  const handled =
    (release: 'previous' | 'next'): Effect =>
    async (event, handling) => {
      await writeEffect(event, handling)
      handling.afterCommit(() => void seen[release].push(event.version))
    }
  const common = { env: state.env, migrations: migrations.folder, hosted: ['alpha', 'beta'] }
  const hosts = {
    previous: await eventHost({ ...common, effects: { beta: handled('previous') } }),
    next: await eventHost({ ...common, contract: next, effects: { beta: handled('next') } }),
  }
  t.teardown(async () => {
    await Promise.all([hosts.previous.close(), hosts.next.close()])
    await sql.end()
    await state.close()
    await migrations.remove()
  })
  const count = async () => (await sql`select from beta.effects`).length

  await hosts.previous.start()
  await hosts.previous.publish('k', 1)
  await until('the first effect', async () => (await count()) === 1)
  await hosts.next.publish('k', 2)
  await hosts.previous.publish('k', 3)
  const kept = await until('what is newer than the process', async () => {
    const rows =
      await sql`select attempts, dead_at, errors::text from beta.inbox where due_at > now() + interval '30 s'`
    return rows[0]
  })
  t.match(kept, { attempts: 0, dead_at: null, errors: /no handler for thing\.happened v2/ }, 'is kept, and no attempt')
  t.equal(await count(), 1, 'and what follows it in its key waits')

  await hosts.next.start()
  for (let n = 4; n <= 40; n++) await hosts[n % 2 ? 'next' : 'previous'].publish(n % 3 ? 'k' : `k${n % 5}`, n)
  await until(
    'all effects',
    async () => {
      // As if the minute had passed after which a process looks again.
      await sql`update beta.inbox set due_at = now() where due_at > now() and dead_at is null`
      return (await count()) === 40
    },
    40_000,
  )
  const rows = await sql`select key, array_agg(n order by at) as each from beta.effects group by key`
  for (const { key, each } of rows)
    t.strictSame(
      each,
      each.toSorted((a: number, b: number) => a - b),
      `in order: ${key}`,
    )
  t.equal(new Set(rows.flatMap(({ each }) => each)).size, 40, 'each once')
  t.ok(
    seen.previous.every((version) => version === 1),
    'the previous release handles its own version only',
  )
  t.ok(seen.next.length > 0 && seen.next.every((version) => version === 2), 'the next one reads both as its own')
})
