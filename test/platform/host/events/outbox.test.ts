import fc from 'fast-check'
import postgres from 'postgres'
import t from 'tap'
import { openModuleDatabase } from '../../../../src/platform/host/data/databases.ts'
import { migrate } from '../../../../src/platform/host/data/migrate.ts'
import { confirm, prune, publish, publishWith, putOff, takeDue } from '../../../../src/platform/host/events/outbox.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { BadInput } from '../../../../src/platform/kit/errors.ts'
import { eq, integer, pgSchema, type Transaction, text } from '../../../../src/platform/kit/tables.ts'
import { freshDatabase } from '../../../support/database.ts'
import { alpha, eventMigrations } from '../../../support/event-host.ts'
import { until } from '../../../support/until.ts'

const database = await freshDatabase()
const migrations = await eventMigrations()
await migrate(database.url, { folder: migrations.folder, schemas: ['alpha'] })
const { db, sql, close } = openModuleDatabase('alpha', database.url)

t.teardown(async () => {
  await close()
  await migrations.remove()
  await database.close()
})
t.beforeEach(async () => {
  for (const table of ['outbox', 'outbox_deliveries', 'outbox_keys']) await sql`delete from ${sql(table)}`
})

const event = alpha.events.happened
const BETA = { name: 'beta' }
const SUBSCRIBERS = [BETA, { name: 'gamma' }]
const publishOne = (key: string, n = 1, subscribers = SUBSCRIBERS) =>
  db.transaction((tx) => publish(tx, event, { key, n }, subscribers))

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

t.test('an event is recorded with one delivery for each subscriber, due at once and not confirmed', async (t) => {
  await publishOne('k', 7)
  const [row] = await sql`select * from outbox`
  t.match(row, { name: 'thing.happened', version: 1, key: 'k', sequence: '1', data: { key: 'k', n: 7 } })
  const deliveries = await sql`select *, due_at <= now() as due from outbox_deliveries order by subscriber`
  t.match(
    [...deliveries],
    SUBSCRIBERS.map(({ name }) => ({
      event_id: row!.id,
      subscriber: name,
      attempts: 0,
      due: true,
      confirmed_at: null,
    })),
  )
  t.equal(deliveries.length, 2)
})

t.test('an event that nobody subscribes to is history all the same', async (t) => {
  await publishOne('k', 1, [])
  t.equal((await sql`select from outbox`).length, 1)
  t.equal((await sql`select from outbox_deliveries`).length, 0)
})

t.test('an event goes with its transaction: rolled back, it leaves no row and no number', async (t) => {
  await rollBack((tx) => publish(tx, event, { key: 'k', n: 1 }, SUBSCRIBERS))
  for (const table of ['outbox', 'outbox_keys', 'outbox_deliveries'])
    t.equal((await sql`select from ${sql(table)}`).length, 0, table)
  await publishOne('k')
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
  t.equal((await sql`select from outbox`).length, 0)
})

t.test('publishing is one statement', async (t) => {
  const statements: string[] = []
  const logged = postgres(database.url, {
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
  t.match(await takeDue(sql, 'alpha', 10, 30), [{ event: { data } }, { event: { data } }])
  const nothing = db.delete(effects).where(eq(effects.n, 2)).returning({ n: effects.n })
  t.same([...(await publishWith(db, nothing, event, data, SUBSCRIBERS))], [])
  await t.rejects(publishWith(db, write(), event, { key: 'k', n: 'one' }, SUBSCRIBERS), BadInput)
  t.equal((await sql`select from outbox`).length, 1)
  t.equal((await sql`select from effects`).length, 1)
})

t.test('events carry the request in whose course they were published', async (t) => {
  const context = new RequestContext({ requestId: 'r-1', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` })
  await context.run(() => publishOne('k'))
  context.end()
  const [due] = await takeDue(sql, 'alpha', 10, 30)
  t.match(due!.event, { requestId: 'r-1', traceparent: context.traceparent })
})

t.test('text in every script and of every length arrives as it was published', async (t) => {
  const property = fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (text) => {
    fc.pre(!text.includes('\0') && text.isWellFormed())
    await db.transaction((tx) => publish(tx, event, { key: 'k', n: 1, text }, [BETA]))
    const [due] = await takeDue(sql, 'alpha', 1, 30)
    t.same(due!.event.data, { key: 'k', n: 1, text })
  })
  await fc.assert(property, { numRuns: 50 })
})

t.test('each key counts from 1 without gaps, whatever is published at once or rolled back', async (t) => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    commits: fc.boolean(),
    events: fc.integer({ min: 1, max: 3 }),
  })
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
    await sql`delete from outbox`
    await sql`delete from outbox_deliveries`
    await sql`delete from outbox_keys`
    await Promise.all(
      steps.map(({ key, commits, events }, n) => {
        const work = async (tx: Transaction) => {
          for (let i = 0; i < events; i++) await publish(tx, event, { key, n }, [BETA])
        }
        return commits ? db.transaction(work) : rollBack(work)
      }),
    )
    for (const key of ['a', 'b', 'c']) {
      const expected = steps
        .filter((step) => step.key === key && step.commits)
        .reduce((sum, { events }) => sum + events, 0)
      const rows = await sql`select sequence::int from outbox where key = ${key} order by sequence`
      t.same(
        rows.map(({ sequence }) => sequence),
        Array.from({ length: expected }, (_, i) => i + 1),
      )
    }
  })
  await fc.assert(property, { numRuns: 30 })
})

t.test('events of one key are numbered in the order in which they are committed', async (t) => {
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let i = 0; i < 25; i++) {
      await publishOne('k', writer * 1000 + i, [BETA])
      const [seen] = await sql`select max(sequence)::int as last, count(*)::int as events from outbox`
      if (seen!.last !== seen!.events)
        t.fail(`number ${seen!.last} is there before a lower one: ${seen!.events} events`)
    }
  })
  await Promise.all(writers)
  const rows = await sql`select (data->>'n')::int as n from outbox order by sequence`
  t.equal(rows.length, 200)
  for (let writer = 0; writer < 8; writer++) {
    const own = rows.map(({ n }) => n).filter((n) => Math.floor(n / 1000) === writer)
    t.same(
      own,
      own.toSorted((a, b) => a - b),
      'the events of one writer are in the order in which it wrote them',
    )
  }
})

t.test('a writer of one key waits for the other writer of that key, and for no other key', async (t) => {
  const order: string[] = []
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const { promise: published, resolve: hasPublished } = Promise.withResolvers<void>()
  const first = db.transaction(async (tx) => {
    await publish(tx, event, { key: 'a', n: 1 }, [BETA])
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
  const rows = await sql`select (data->>'n')::int as n from outbox where key = 'a' order by sequence`
  t.same(
    rows.map(({ n }) => n),
    [1, 2],
  )
})

t.test('relays that look at once take each delivery once between them', async (t) => {
  await Promise.all(Array.from({ length: 100 }, (_, n) => publishOne(`k${n}`)))
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
      const [due] = await takeDue(sql, 'alpha', 10, 30)
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
  await publishOne('k', 1)
  const due = await takeDue(sql, 'alpha', 10, 30)
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
  const owner = postgres(database.url, { max: 1, onnotice: () => {} })
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

t.test('looking for what is due reads no more than that, however much history there is', async (t) => {
  await sql`insert into outbox (id, name, version, key, sequence, data)
    select gen_random_uuid(), 'thing.happened', 1, i::text, 1, '{}' from generate_series(1, 20000) as i`
  await sql`insert into outbox_deliveries (event_id, subscriber, place, confirmed_at) select id, 'beta', 1, now() from outbox`
  await publishOne('k', 1, [BETA])
  const owner = postgres(database.url, { max: 1, onnotice: () => {} })
  await owner`analyze alpha.outbox, alpha.outbox_deliveries`
  await owner.end()

  const statements: [string, unknown[]][] = []
  const overheard = postgres(database.url, {
    max: 1,
    debug: (_connection, query, parameters) => statements.push([query, parameters]),
    connection: { role: 'seam_alpha', search_path: 'alpha' } as Record<string, string>,
  })
  t.teardown(() => overheard.end())
  t.equal((await takeDue(overheard, 'alpha', 200, 30)).length, 1)
  const [text, parameters] = statements.find(([text]) => text.includes('with due as'))!
  await sql`update outbox_deliveries set due_at = now() where confirmed_at is null`
  const plan = await sql.begin(async (tx) => {
    await tx`select set_config('plan_cache_mode', 'force_generic_plan', true)`
    await tx.unsafe(`prepare looking as ${text}`)
    const rows = await tx.unsafe(`explain (analyze) execute looking(${parameters.join(', ')})`)
    await tx`deallocate looking`
    return rows.map((row) => row['QUERY PLAN']).join('\n')
  })
  t.notMatch(plan, /Seq Scan/, plan)
  t.match(plan, /outbox_deliveries_due/)
})
