import { randomBytes, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import postgres from 'postgres'
import t from 'tap'
import { replay } from '../../../../src/platform/host/events/history.ts'
import {
  confirm,
  prune,
  publish,
  publishWith,
  putOff,
  type Subscriber,
  takeDue,
} from '../../../../src/platform/host/events/outbox.ts'
import { FEW, sequence, sequenceAll } from '../../../../src/platform/host/events/sequence.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { BadInput } from '../../../../src/platform/kit/errors.ts'
import { eq, integer, pgSchema, type Transaction, text } from '../../../../src/platform/kit/tables.ts'
import { eventDatabase } from '../../../support/event-database.ts'
import { alpha } from '../../../support/event-host.ts'
import { until } from '../../../support/until.ts'

const { db, sql, url } = await eventDatabase(t, 'alpha')
const TABLES = ['outbox_new', 'outbox', 'outbox_deliveries', 'outbox_keys']
const empty = async () => {
  for (const table of TABLES) await sql`delete from ${sql(table)}`
}
t.beforeEach(empty)

const event = alpha.events.happened
const BETA = { name: 'beta' }
const SUBSCRIBERS = [BETA, { name: 'gamma' }]
const publishOne = (key: string, n = 1, subscribers: readonly Subscriber[] = SUBSCRIBERS) =>
  db.transaction((tx) => publish(tx, event, { key, n }, subscribers))
const number = (limit = 100) => sequence(sql, 'alpha', { limit, seconds: 30 })

const effects = pgSchema('alpha').table('effects', { key: text('key'), n: integer('n') })

class Rollback extends Error {}
const rollBack = (work: (tx: Transaction) => Promise<void>) =>
  db
    .transaction(async (tx) => {
      await work(tx)
      throw new Rollback()
    })
    .catch((error) => {
      if (!(error instanceof Rollback)) throw error
    })

t.test('an event is recorded without a number or a delivery: a relay gives it both', async (t) => {
  await publishOne('k', 7)
  const expected = { name: 'thing.happened', version: 1, key: 'k', data: { key: 'k', n: 7 } }
  const [published, ...others] = await sql`select id, name, version, key, data, created_at from outbox_new`
  t.match(published, expected)
  t.equal(others.length, 0)
  t.match(await number(), { events: 1, outside: false })
  const [row] = await sql`select * from outbox`
  t.match(row, { ...published, sequence: '1' })
  t.equal((await sql`select from outbox_new`).length, 0)
  const deliveries = await sql`
    select *, round(extract(epoch from due_at - now()))::int as pause from outbox_deliveries order by subscriber`
  t.match(
    [...deliveries],
    SUBSCRIBERS.map(({ name }) => ({
      event_id: row!.id,
      subscriber: name,
      attempts: 1,
      pause: 30,
      confirmed_at: null,
    })),
  )
  t.equal(deliveries.length, 2)
  t.match(await number(), { events: 0, due: [] }, 'once')
})

t.test('a delivery to a system outside is due at once, and left to its own relay', async (t) => {
  await publishOne('k', 7, [{ name: 'webhook:crm' }, BETA])
  t.match(await number(), {
    events: 1,
    outside: true,
    due: [{ subscriber: 'beta' }],
  })
  const [row] = await sql`select *, due_at <= now() as due from outbox_deliveries where subscriber = 'webhook:crm'`
  t.match(row, { attempts: 0, due: true, place: '1', after: '0' })
})

t.test('more data than the network takes at once is read when the events have been moved on', async (t) => {
  const text = randomBytes(1_500).toString('hex')
  for (let n = 0; n < 40; n++)
    await db.transaction((tx) => publish(tx, event, { key: `k${n % 7}`, n, text: `${text} ${n}` }, SUBSCRIBERS))
  const { due } = await number()
  t.equal(due.length, 80)
  for (const { event, size } of due) {
    const { n, key } = event.data as { n: number; key: string }
    t.same(event.data, { key: event.key, n, text: `${text} ${n}` })
    t.equal(key, `k${n % 7}`)
    t.ok(size > 1_000)
  }
})

t.test('what is not taken is due at once, by all that were committed before', async (t) => {
  for (let n = 0; n < 7; n++) await publishOne(`k${n % 2}`, n)
  t.match(await sequence(sql, 'alpha', { limit: 3, seconds: 0 }), { events: 3, due: [] })
  await sequenceAll(sql, 'alpha')
  t.equal((await sql`select from outbox_new`).length, 0)
  const due = await takeDue(sql, 'alpha', 100, 30)
  t.equal(due.length, 14)
  for (const { attempts } of due) t.equal(attempts, 1)
})

t.test('an event that nobody subscribes to is history all the same', async (t) => {
  await publishOne('k', 1, [])
  t.match(await number(), { events: 1, due: [], outside: false })
  t.match([...(await sql`select sequence from outbox`)], [{ sequence: '1' }])
  t.equal((await sql`select from outbox_deliveries`).length, 0)
})

t.test('an event goes with its transaction: rolled back, it leaves no row and no number', async (t) => {
  await rollBack((tx) => publish(tx, event, { key: 'k', n: 1 }, SUBSCRIBERS))
  t.match(await number(), { events: 0 })
  for (const table of TABLES) t.equal((await sql`select from ${sql(table)}`).length, 0, table)
  await publishOne('k')
  await number()
  t.equal((await sql`select sequence from outbox`)[0]!.sequence, '1')
})

t.test('bad data rolls the transaction back, and the error has the path of each fault', async (t) => {
  const publishing = db.transaction(async (tx) => {
    await publish(tx, event, { key: 'k', n: 1 }, SUBSCRIBERS)
    await publish(tx, event, { key: 'k'.repeat(501), n: 'one', more: true }, SUBSCRIBERS)
  })
  const error = await publishing.then(
    () => t.fail('it was published'),
    (error) => error,
  )
  t.type(error, BadInput)
  t.same(error.details.errors.map(({ path }: { path: string }) => path).sort(), ['/key', '/more', '/n'])
  t.match(error.message, /thing\.happened/)
  t.equal((await sql`select from outbox_new`).length, 0)
})

t.test('publishing is one statement', async (t) => {
  const statements: string[] = []
  const logged = postgres(url, {
    max: 1,
    debug: (_connection, query) => statements.push(query),
    connection: { role: 'seam_alpha', search_path: 'alpha' } as Record<string, string>,
  })
  t.teardown(() => logged.end())
  const { drizzleOn } = await import('../../../../src/platform/host/data/drizzle.ts')
  await drizzleOn(logged).transaction(async (tx) => {
    statements.length = 0
    await publish(tx, event, { key: 'k', n: 1 }, SUBSCRIBERS)
    t.equal(statements.length, 1, statements.join('\n'))
  })
})

t.test('a write and its event are one statement; where nothing is written, there is no event', async (t) => {
  const data = { key: 'k', n: 1 }
  const write = () => db.insert(effects).values(data).onConflictDoNothing().returning({ n: effects.n })
  t.same([...(await publishWith(db, write(), event, data, SUBSCRIBERS))], [{ n: 1 }])
  t.match((await number()).due, [{ event: { data } }, { event: { data } }])
  const nothing = db.delete(effects).where(eq(effects.n, 2)).returning({ n: effects.n })
  t.same([...(await publishWith(db, nothing, event, data, SUBSCRIBERS))], [])
  await t.rejects(publishWith(db, write(), event, { key: 'k', n: 'one' }, SUBSCRIBERS), BadInput)
  t.equal((await sql`select from outbox_new`).length, 0)
  t.equal((await sql`select from outbox`).length, 1)
  t.equal((await sql`select from effects`).length, 1)
})

t.test('events carry the request in whose course they were published', async (t) => {
  const context = new RequestContext({ requestId: 'r-1', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` })
  await context.run(() => publishOne('k'))
  context.end()
  const [due] = (await number()).due
  t.match(due!.event, { requestId: 'r-1', traceparent: context.traceparent })
})

t.test('text in every script and of every length arrives as it was published', async (t) => {
  const property = fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (text) => {
    fc.pre(!text.includes('\0') && text.isWellFormed())
    await db.transaction((tx) => publish(tx, event, { key: 'k', n: 1, text }, [BETA]))
    const [due] = (await number()).due
    t.same(due!.event.data, { key: 'k', n: 1, text })
  })
  await fc.assert(property, { numRuns: 50 })
})

const step = fc.record({
  key: fc.constantFrom('a', 'b', 'c'),
  commits: fc.boolean(),
  events: fc.integer({ min: 1, max: 3 }),
})

t.test('each key counts from 1 without gaps, whatever is published, numbered and rolled back at once', async (t) => {
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
    await empty()
    await Promise.all(
      steps.map(async ({ key, commits, events }, n) => {
        const work = async (tx: Transaction) => {
          for (let i = 0; i < events; i++) await publish(tx, event, { key, n }, SUBSCRIBERS)
        }
        await (commits ? db.transaction(work) : rollBack(work))
        await number(2)
      }),
    )
    await number()
    for (const key of ['a', 'b', 'c']) {
      const expected = steps
        .filter((step) => step.key === key && step.commits)
        .reduce((sum, { events }) => sum + events, 0)
      const numbers = Array.from({ length: expected }, (_, i) => i + 1)
      const rows = await sql`select sequence::int from outbox where key = ${key} order by sequence`
      t.same(
        rows.map(({ sequence }) => sequence),
        numbers,
      )
      for (const { name } of SUBSCRIBERS) {
        const deliveries = await sql`
          select place::int, after::int from outbox_deliveries join outbox on id = event_id
          where subscriber = ${name} and key = ${key} order by place`
        t.same(
          deliveries,
          numbers.map((place) => ({ place, after: place - 1 })),
        )
      }
    }
  })
  await fc.assert(property, { numRuns: 30 })
})

t.test('a subscriber is told of the event before, of those that concern it; one without order of none', async (t) => {
  const of = (name: string, version = 1) => ({ ...event, name, version }) as typeof event
  const rows = fc.array(fc.record({ key: fc.constantFrom('a', 'b'), name: fc.constantFrom('x', 'y') }), {
    maxLength: 12,
  })
  const subscribed = [
    { event: 'x', subscriber: BETA },
    { event: 'x', subscriber: { name: 'gamma', unordered: true } },
    { event: 'y', subscriber: { name: 'gamma' } },
    { event: 'x', subscriber: { name: 'webhook:crm' } },
    { event: 'y', subscriber: { name: 'webhook:crm' } },
  ]
  const toldOf = (name: string) => subscribed.filter(({ event }) => event === name).map(({ subscriber }) => subscriber)
  const property = fc.asyncProperty(rows, fc.integer({ min: 1, max: 5 }), async (published, limit) => {
    await empty()
    for (const { key, name } of published)
      await db.transaction((tx) => publish(tx, of(name), { key, n: 1 }, toldOf(name)))
    while ((await number(limit)).events > 0);
    const found = await sql`
      select key, subscriber, place::int, after::int from outbox_deliveries join outbox on id = event_id
      order by key, place, subscriber`
    const expected: object[] = []
    for (const key of ['a', 'b']) {
      const last = new Map<string, number>()
      const own = published.filter((one) => one.key === key)
      for (const [i, { name }] of own.entries())
        for (const { event, subscriber } of subscribed)
          if (event === name) {
            const unordered = 'unordered' in subscriber
            const after = unordered ? null : (last.get(subscriber.name) ?? 0)
            expected.push({ key, subscriber: subscriber.name, place: i + 1, after })
            if (!unordered) last.set(subscriber.name, i + 1)
          }
    }
    t.same([...found], expected)
  })
  await fc.assert(property, { numRuns: 50 })
})

t.test('events of one key are numbered in the order of their commits, however many relays number them', async (t) => {
  const committed: number[] = []
  const writers = Array.from({ length: 6 }, async (_, writer) => {
    for (let i = 0; i < 25; i++)
      await db.transaction(async (tx) => {
        await publish(tx, event, { key: 'k', n: writer * 1000 + i }, [BETA])
        // Nobody else publishes for this key until the commit.
        committed.push(writer * 1000 + i)
      })
  })
  let isWriting = true
  const relays = Array.from({ length: 3 }, async (_, relay) => {
    const due: number[] = []
    while (isWriting) due.push(...(await number(relay + 1)).due.map(({ event }) => event.sequence))
    return due
  })
  await Promise.all(writers)
  isWriting = false
  const taken = (await Promise.all(relays)).flat()
  while ((await number()).events > 0);
  const rows = await sql`select (data->>'n')::int as n from outbox order by sequence`
  t.same(
    rows.map(({ n }) => n),
    committed,
  )
  t.equal(new Set(taken).size, taken.length, 'none was taken twice')
})

t.test(
  'numbers that a crash of the database undid come out the same, with whatever is published and replayed meanwhile',
  async (t) => {
    const publishSome = async (count: number) => {
      for (let n = 0; n < count; n++)
        await publishOne(`k${n % 3}`, n, n % 2 === 0 ? SUBSCRIBERS : [BETA, { name: 'gamma', unordered: true }])
    }
    const numbered = async (db: typeof sql, limit: number) => {
      const due: string[] = []
      for (;;) {
        const sequenced = await sequence(db, 'alpha', { limit, seconds: 30 })
        for (const {
          subscriber,
          event: { id, sequence, place, after },
        } of sequenced.due)
          due.push([subscriber, id, sequence, place, after ?? 'none'].join(' '))
        if (sequenced.events < limit) return due
      }
    }
    await publishSome(5)
    await number()
    await publishSome(20)
    let before: string[] = []
    const crash = sql.begin(async (tx) => {
      before = await numbered(tx as unknown as typeof sql, 4)
      throw new Rollback()
    })
    await crash.catch((error) => t.type(error, Rollback))
    await publishSome(7)
    await replay({ db, sql }, 'alpha', [{ event: 'thing.happened', subscriber: BETA }], 0)
    const rows = await sql`
      select concat_ws(' ', subscriber, id, sequence, place, coalesce(after::text, 'none')) as one
      from outbox_deliveries join outbox on id = event_id`
    const again = new Set(rows.map(({ one }) => one))
    t.equal(before.length, 40)
    t.same(
      before.filter((one) => !again.has(one)),
      [],
    )
  },
)

t.test('with a backlog, confirmations are not compared with all that is unconfirmed', async (t) => {
  const hasty = postgres(url, { max: 1, connection: { search_path: 'alpha', statement_timeout: 1_000 } as object })
  t.teardown(() => hasty.end())
  // PostgreSQL keeps plans, and makes them for as many rows as there were.
  for (let n = 0; n < 10; n++) await confirm(hasty, 'beta', [{ id: randomUUID(), place: 1 }])
  const rows = await sql`
    insert into outbox_deliveries (event_id, subscriber, place, due_at)
    select uuidv7(), 'beta', 1, now() from generate_series(1, 20000) returning event_id as id`
  for (let i = 0; i < rows.length; i += 500)
    await confirm(
      hasty,
      'beta',
      rows.slice(i, i + 500).map(({ id }) => ({ id, place: 1 })),
    )
  const [left] = await sql`select count(*)::int from outbox_deliveries where confirmed_at is null`
  t.equal(left!.count, 0)
})

t.test('a writer of one key waits for the other writer of that key, and for no other key', async (t) => {
  const order: string[] = []
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const { promise: published, resolve: hasPublished } = Promise.withResolvers<void>()
  const first = db.transaction(async (tx) => {
    await publish(tx, event, { key: 'a', n: 1 }, SUBSCRIBERS)
    hasPublished()
    await held
    order.push('first')
  })
  await published
  const second = publishOne('a', 2).then(() => order.push('second'))
  await publishOne('b', 3)
  order.push('other key')
  release()
  await Promise.all([first, second])
  t.same(order, ['other key', 'first', 'second'])
  await number()
  const rows = await sql`select (data->>'n')::int as n from outbox where key = 'a' order by sequence`
  t.same(
    rows.map(({ n }) => n),
    [1, 2],
  )
})

t.test('relays that look at once take each delivery once between them', async (t) => {
  await Promise.all(Array.from({ length: 100 }, (_, n) => publishOne(`k${n}`)))
  await number()
  await sql`update outbox_deliveries set due_at = now()`
  const takeAll = async () => {
    const taken: string[] = []
    for (;;) {
      const due = await takeDue(sql, 'alpha', 7, 30)
      if (due.length === 0) return taken
      taken.push(...due.map(({ event, subscriber }) => `${event.id} ${subscriber}`))
    }
  }
  const taken = (await Promise.all([takeAll(), takeAll(), takeAll(), takeAll()])).flat()
  t.equal(taken.length, 200)
  t.equal(new Set(taken).size, 200)
})

t.test(
  'a delivery is taken again when its deadline has passed, ever more seldom, and never once it is confirmed',
  async (t) => {
    await publishOne('k', 1, [BETA])
    const pauses: number[] = []
    for (let attempt = 1; attempt <= 7; attempt++) {
      const [due] = attempt === 1 ? (await number()).due : await takeDue(sql, 'alpha', 10, 30)
      t.ok(due, `attempt ${attempt}`)
      t.equal((await takeDue(sql, 'alpha', 10, 30)).length, 0, 'not again at once')
      const [row] =
        await sql`select attempts, round(extract(epoch from due_at - now()))::int as pause from outbox_deliveries`
      t.equal(row!.attempts, attempt)
      pauses.push(row!.pause)
      await sql`update outbox_deliveries set due_at = now()`
    }
    t.same(pauses, [30, 60, 120, 240, 480, 480, 480])
    const [{ event_id: id }] = (await sql`select event_id from outbox_deliveries`) as unknown as [{ event_id: string }]
    await confirm(sql, 'gamma', [{ id, place: 1 }])
    t.equal((await takeDue(sql, 'alpha', 10, 30)).length, 1, 'what another subscriber confirms changes nothing')
    await sql`update outbox_deliveries set due_at = now()`
    await confirm(sql, 'beta', [{ id, place: 1 }])
    t.equal((await takeDue(sql, 'alpha', 10, 30)).length, 0)
    const [first] = await sql`select confirmed_at from outbox_deliveries`
    await confirm(sql, 'beta', [{ id, place: 1 }])
    t.same(
      (await sql`select confirmed_at from outbox_deliveries`)[0],
      first,
      'the first confirmation is the one that is kept',
    )
  },
)

t.test('a delivery that could not be sent is due soon again, and that was no attempt', async (t) => {
  await publishOne('k')
  const { due } = await number()
  await putOff(
    sql,
    due.filter(({ subscriber }) => subscriber === 'beta'),
    1,
  )
  const rows =
    await sql`select subscriber, attempts, round(extract(epoch from due_at - now()))::int as pause from outbox_deliveries order by 1`
  t.match(
    [...rows],
    [
      { subscriber: 'beta', attempts: 0, pause: 1 },
      { subscriber: 'gamma', attempts: 1, pause: 30 },
    ],
  )
})

t.test('what is old and confirmed by all is removed, the oldest first; nothing else is', async (t) => {
  await sql`
    insert into outbox (id, name, version, key, sequence, data)
    select uuidv7(make_interval(hours => -age)), 'thing.happened', 1, age::text, 1, '{}' from generate_series(1, 6) as age`
  // Two of the old ones have subscribers, and one of these waits for one of its two.
  await sql`
    insert into outbox_deliveries (event_id, subscriber, place, confirmed_at)
    select id, subscriber, 1, case when key = '5' and subscriber = 'gamma' then null else now() end
    from outbox, unnest('{beta,gamma}'::text[]) as subscriber where key in ('4', '5')`
  const keys = async () => (await sql`select key from outbox order by key`).map(({ key }) => key)
  t.equal(await prune(sql, 2.5 * 3600, 2), 2)
  t.same(await keys(), ['1', '2', '3', '5'])
  t.equal(await prune(sql, 2.5 * 3600, 2), 1)
  t.equal(await prune(sql, 2.5 * 3600, 2), 0)
  t.same(await keys(), ['1', '2', '5'])
  t.equal((await sql`select from outbox_deliveries`).length, 2)
})

t.test('an old event that is delivered once more while it would be removed stays', async (t) => {
  await sql`
    insert into outbox (id, name, version, key, sequence, data)
    select uuidv7(make_interval(hours => -age)), 'thing.happened', 1, age::text, 1, '{}' from generate_series(3, 4) as age`
  await sql`insert into outbox_deliveries (event_id, subscriber, place) select id, 'beta', 1 from outbox where key = '4'`
  // Looking at deliveries takes until somebody lets go of a lock.
  const owner = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => owner.end())
  await owner`
    create function alpha.looked() returns boolean language plpgsql as
      $$ begin perform pg_advisory_xact_lock_shared(7); return true; end $$`
  await owner`alter table alpha.outbox_deliveries enable row level security`
  await owner`create policy slow on alpha.outbox_deliveries using (alpha.looked())`
  t.teardown(() => owner`alter table alpha.outbox_deliveries disable row level security`)
  await owner`select pg_advisory_lock(7)`
  const pruning = prune(sql, 2.5 * 3600, 10)
  const isWaiting = () => owner`select from pg_locks where locktype = 'advisory' and objid = 7 and not granted`
  await until('its look', async () => (await isWaiting()).length > 0)
  await owner`insert into alpha.outbox_deliveries (event_id, subscriber, place) select id, 'beta', 2 from alpha.outbox where key = '3'`
  await owner`select pg_advisory_unlock(7)`
  t.equal(await pruning, 0)
  t.equal((await owner`select from alpha.outbox`).length, 2)
  t.equal((await owner`select from alpha.outbox_deliveries`).length, 2)
})

t.test('looking for what is new or due reads no more than that, however much history there is', async (t) => {
  await sql`insert into outbox (id, name, version, key, sequence, data)
    select gen_random_uuid(), 'thing.happened', 1, i::text, 1, '{}' from generate_series(1, 20000) as i`
  await sql`insert into outbox_deliveries (event_id, subscriber, place, confirmed_at) select id, 'beta', 1, now() from outbox`
  await sql`insert into outbox_keys (key, last) select key, 1 from outbox`
  await publishOne('k', 1, [BETA])
  const owner = postgres(url, { max: 1, onnotice: () => {} })
  await owner`analyze alpha.outbox, alpha.outbox_deliveries, alpha.outbox_keys`
  await owner.end()

  const statements: [string, unknown[]][] = []
  const overheard = postgres(url, {
    max: 1,
    debug: (_connection, query, parameters) => statements.push([query, parameters]),
    connection: { role: 'seam_alpha', search_path: 'alpha' } as Record<string, string>,
  })
  t.teardown(() => overheard.end())
  const planOf = async (beginning: string) => {
    const [text, parameters] = statements.find(([text]) => text.includes(beginning))!
    return sql.begin(async (tx) => {
      await tx`select set_config('plan_cache_mode', 'force_generic_plan', true)`
      await tx.unsafe(`prepare looking as ${text}`)
      const written = parameters.map((one) => (typeof one === 'string' ? `'${one}'` : one))
      const rows = await tx.unsafe(
        `explain (analyze) execute looking${written.length > 0 ? `(${written.join(', ')})` : ''}`,
      )
      await tx`deallocate looking`
      return rows.map((row) => row['QUERY PLAN']).join('\n')
    })
  }
  t.equal((await sequence(overheard, 'alpha', { limit: FEW, seconds: 30 })).due.length, 1)
  await publishOne('k', 2, [BETA])
  const news = await planOf('with new as')
  t.notMatch(news, /Seq Scan on outbox/, news)
  t.match(news, /Index Scan using outbox_new_pkey/)
  t.equal(news.match(/ Full Join/g)?.length, 4, 'none of them is a nested loop')
  await sql`update outbox_deliveries set due_at = now() where confirmed_at is null`
  t.equal((await takeDue(overheard, 'alpha', 200, 30)).length, 2)
  await sql`update outbox_deliveries set due_at = now() where confirmed_at is null`
  const due = await planOf('with due as')
  t.notMatch(due, /Seq Scan/, due)
  t.match(due, /outbox_deliveries_due/)
})
