import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import pino from 'pino'
import t from 'tap'
import type { Delivery, Transport } from '../../../../src/platform/host/events/delivery.ts'
import { failureOf } from '../../../../src/platform/host/events/failure.ts'
import { keep, keepFailed, putBack, takeDue } from '../../../../src/platform/host/events/inbox.ts'
import { Subscriber } from '../../../../src/platform/host/events/subscriber.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import type { Handling } from '../../../../src/platform/kit/module.ts'
import { sql as sqlOf } from '../../../../src/platform/kit/tables.ts'
import { eventDatabase } from '../../../support/event-database.ts'
import { alpha } from '../../../support/event-host.ts'
import { until } from '../../../support/until.ts'

const { db, sql } = await eventDatabase(t, 'beta')

const subscriber = (handle: (key: string, handling: Handling) => Promise<void>) => {
  const transport = { send: async () => {} } as unknown as Transport
  const made = new Subscriber('beta', { db, transport, log: pino({ level: 'silent' }), modules: new Set(['alpha']) })
  made.on(alpha.events.happened, ({ key }, handling) => handle(key, handling))
  return made
}

/** The first event of a key. */
const firstOf = (key: string): Delivery => ({
  id: randomUUID(),
  publisher: 'alpha',
  name: 'thing.happened',
  version: 1,
  key,
  sequence: 1,
  place: 1,
  after: 0,
  occurredAt: new Date().toISOString(),
  data: { key, n: 1 },
  requestId: null,
  traceparent: null,
})

t.test('events that wait long for the slow handlers of other keys are handled all the same', async (t) => {
  const slow = Promise.withResolvers<void>()
  const begun: string[] = []
  const beta = subscriber(async (key) => {
    begun.push(key)
    if (key.startsWith('slow')) await slow.promise
  })
  const occupied = Array.from({ length: 5 }, (_, n) => beta.receive([firstOf(`slow${n}`)]))
  await until('their handlers', () => begun.length === 5)
  const waiting = beta.receive([firstOf('a'), firstOf('b')])
  await setImmediate()
  const { now } = performance
  t.intercept(performance, 'now', { value: () => now.call(performance) + 3_000 })
  slow.resolve()
  await Promise.all([waiting, ...occupied])
  t.same(begun.slice(5), ['a', 'b'])
  t.equal((await sql`select from inbox`).length, 0)
})

t.test('what is to be done before the commit may not take longer than a transaction', async (t) => {
  const never = new Promise<void>(() => {})
  const tries: string[] = []
  const beta = subscriber(async (key, { beforeCommit }) => {
    tries.push(key)
    if (key === 'hangs' && tries.length < 3) beforeCommit(() => never)
  })
  await beta.receive([firstOf('hangs'), firstOf('beside')])
  t.same(tries.toSorted(), ['beside', 'beside', 'hangs', 'hangs'])
  t.equal((await sql`select from inbox`).length, 0)
})

t.test('of events that take too long together no further one is begun', async (t) => {
  const begun: string[] = []
  const beta = subscriber(async (key) => {
    begun.push(key)
    // No timer can tell meanwhile.
    const end = performance.now() + 1_100
    while (begun.length <= 2 && performance.now() < end);
  })
  await beta.receive(['l1', 'l2', 'l3', 'l4'].map(firstOf))
  t.equal(begun.length, 2 + 4)
  t.same(begun.slice(2).toSorted(), ['l1', 'l2', 'l3', 'l4'], 'each in a transaction of its own')
  t.equal((await sql`select from inbox`).length, 0)
})

t.test('an id of a request that came with an event is believed when it is well formed', async (t) => {
  const seen: (string | undefined)[] = []
  const beta = subscriber(async () => void seen.push(RequestContext.current()?.requestId))
  const ids = ['r-1', 'r"],\n["', 'é', 'x'.repeat(129)]
  for (const [n, requestId] of ids.entries()) await beta.receive([{ ...firstOf(`request${n}`), requestId }])
  t.equal(seen[0], 'r-1')
  t.equal(seen.length, ids.length)
  for (const id of seen.slice(1)) t.match(id, /^[0-9a-f-]{36}$/)
})

t.test('of what went wrong is kept what the log would say, and a bounded part of it', async (t) => {
  const handlers: Record<string, () => Promise<unknown>> = {
    query: () => db.execute(sqlOf`select ${'$argon2id$hash'}::int`),
    long: () => Promise.reject(new Error('x'.repeat(1_000_000))),
  }
  const beta = subscriber(async (key) => void (await handlers[key]!()))
  await beta.receive([firstOf('query'), firstOf('long')])
  const kept = await sql`select key, errors->0 as error, length(errors::text) as length from inbox order by key`
  t.match(
    [...kept],
    [
      { key: 'long', error: { message: /^x{4000}$/ } },
      { key: 'query', error: { message: /^Failed query: select \$1::int$/, stack: /\n {4}at / } },
    ],
  )
  t.ok(kept.every(({ length }) => length < 10_000))
  t.notMatch(JSON.stringify(kept), 'argon2id')
})

t.test('what a sweep gives back is only what nobody else has handled, holds or has put off since', async (t) => {
  await sql`delete from inbox`
  const failed = firstOf('failed')
  const held = firstOf('held')
  await keep(
    db,
    [failed, held, firstOf('idle')].map((delivery) => ({ delivery, attempts: 0 })),
  )
  const taken = await takeDue(db, 10, 35)
  t.equal(taken.length, 3)
  await keepFailed(db, failed, failureOf(new Error('not yet')), { seconds: 3_600 })
  await db.transaction(async (tx) => {
    await tx.execute(sqlOf`select from inbox where event_id = ${held.id}::uuid for update`)
    await putBack(db, taken)
  })
  const rows =
    await sql`select key, round(extract(epoch from due_at - now()) / 60)::int as minutes from inbox order by key`
  t.same(
    [...rows],
    [
      { key: 'failed', minutes: 60 },
      { key: 'held', minutes: 1 },
      { key: 'idle', minutes: null },
    ],
  )
})
