// patches/postgres+3.4.9.patch makes `cancel()` of postgres.js hit the statement that it is meant for, and no other. These
// tests fail without it.
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { meaningOf } from '../../../../src/platform/host/data/database-errors.ts'
import { drizzleOn } from '../../../../src/platform/host/data/drizzle.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { DeadlineExceeded } from '../../../../src/platform/kit/errors.ts'
import { sql as text } from '../../../../src/platform/kit/tables.ts'
import { freshDatabase } from '../../../support/database.ts'
import { until } from '../../../support/until.ts'

const database = await freshDatabase()
const admin = postgres(database.url, { max: 1 })
await admin`create table things (n int)`
t.teardown(async () => {
  await admin.end()
  await database.close()
})

/** A small pool, so that statements follow each other closely on its connections. */
function pool(t: Test, max: number) {
  const name = `test ${t.name}`.slice(0, 60)
  const options = { max, max_pipeline: 0, fetch_types: false, connection: { application_name: name } }
  const sql = postgres(database.url, options)
  t.teardown(() => sql.end({ timeout: 1 }))
  const running = async () =>
    await admin`select query from pg_stat_activity where state <> 'idle' and application_name = ${name}`
  return { sql, db: drizzleOn(sql), running: async () => (await running()).length }
}

type Db = ReturnType<typeof pool>['db']
const sleep = async (db: Pick<Db, 'execute'>, seconds: number) => {
  await db.execute(text`select pg_sleep(${seconds})`)
}
const isLate = (error: unknown) => meaningOf(error, 'things') instanceof DeadlineExceeded

t.test('what runs is cancelled and what waits is dropped when the request ends', async (t) => {
  const { db, running } = pool(t, 3)
  const request = new RequestContext()
  const outcomes = request.run(() => Promise.allSettled(Array.from({ length: 9 }, () => sleep(db, 20))))
  await until('three run', async () => (await running()) === 3)
  request.end()
  for (const outcome of await outcomes) t.ok(outcome.status === 'rejected' && isLate(outcome.reason))
  await until('nothing runs in PostgreSQL any more', async () => (await running()) === 0)
  await t.rejects(
    request.run(() => sleep(db, 20)),
    'and nothing is begun',
  )
  await sleep(db, 0)
})

t.test('a statement outside of any request is left alone', async (t) => {
  const { db } = pool(t, 1)
  const request = new RequestContext()
  const apart = request.run(() => RequestContext.outside(() => sleep(db, 0.1)))
  request.end()
  await apart
})

t.test('a hundred statements are cancelled, and then a hundred others are answered', async (t) => {
  const { db, running } = pool(t, 4)
  let late = 0
  for (let round = 0; round < 25; round++) {
    const request = new RequestContext()
    const four = request.run(() => Promise.allSettled([1, 2, 3, 4].map(() => sleep(db, 20))))
    await until('four run', async () => (await running()) === 4)
    request.end()
    late += (await four).filter((outcome) => outcome.status === 'rejected' && isLate(outcome.reason)).length
  }
  t.equal(late, 100)
  const numbers = Array.from({ length: 100 }, (_, n) => n)
  const answers = await Promise.all(numbers.map((n) => db.execute<{ n: number }>(text`select ${n}::int as n`)))
  t.strictSame(
    answers.map(([row]) => row!.n),
    numbers,
  )
})

t.test('a statement is never hit by what was to cancel its neighbour', async (t) => {
  const { db } = pool(t, 3)
  const counts = { cancelled: 0, inTime: 0 }
  const hurried = async () => {
    for (let n = 0; n < 150; n++) {
      const request = new RequestContext()
      // About as long as the statement takes: the request to cancel it comes when it has just ended, half of the time.
      const timer = setTimeout(() => request.end(), 3 * Math.random())
      const outcome = await request.run(() => Promise.allSettled([sleep(db, 0.001)]))
      clearTimeout(timer)
      if (outcome[0].status === 'fulfilled') counts.inTime++
      else if (isLate(outcome[0].reason)) counts.cancelled++
      else throw outcome[0].reason
      request.end()
    }
  }
  let over = false
  const neighbour = async () => {
    let answered = 0
    while (!over) {
      const [row] = await db.execute<{ n: number }>(text`select ${answered}::int as n from pg_sleep(0.0005)`)
      if (row!.n !== answered++) throw new Error('It got the answer of another.')
    }
    return answered
  }
  const inTransactions = async () => {
    let answered = 0
    for (; !over; answered++) {
      await db.transaction(async (tx) => {
        await sleep(tx, 0)
        await sleep(tx, 0.0005)
      })
    }
    return answered
  }
  const neighbours = Promise.all([neighbour(), inTransactions()])
  try {
    await Promise.all([hurried(), hurried(), hurried()])
  } finally {
    over = true
  }
  const answered = await neighbours
  t.ok(counts.cancelled > 20 && counts.inTime > 20, `both happened: ${JSON.stringify(counts)}`)
  t.ok(Math.min(...answered) > 20, `and the neighbours were answered: ${answered}`)
})

t.test('a transaction is rolled back', async (t) => {
  const { db, running } = pool(t, 1)
  const insert = (tx: Pick<Db, 'execute'>) => tx.execute(text`insert into things values (1)`)
  const left = async () => Number((await admin`select count(*) from things`)[0]!.count)

  t.test('while a statement runs, with others behind it', async (t) => {
    const request = new RequestContext()
    const work = request.run(() =>
      db.transaction(async (tx) => {
        await insert(tx)
        await Promise.all([sleep(tx, 20), insert(tx), insert(tx)])
      }),
    )
    await until(
      'it sleeps',
      async () => (await admin`select from pg_stat_activity where wait_event = 'PgSleep'`).length,
    )
    request.end()
    t.ok(isLate(await work.catch((error) => error)))
    t.strictSame([await running(), await left()], [0, 0])
  })

  t.test('while it waits for something else', async (t) => {
    const request = new RequestContext()
    const gate = Promise.withResolvers<void>()
    const work = request.run(() =>
      db.transaction(async (tx) => {
        await insert(tx)
        await gate.promise
        await insert(tx)
      }),
    )
    await until('it waits', async () => (await running()) === 1)
    request.end()
    gate.resolve()
    t.ok(isLate(await work.catch((error) => error)))
    t.strictSame([await running(), await left()], [0, 0])
  })

  t.test('when its work is done and nobody waits for it', async (t) => {
    const request = new RequestContext()
    const work = request.run(() =>
      db.transaction(async (tx) => {
        await insert(tx)
        request.end()
      }),
    )
    t.ok(isLate(await work.catch((error) => error)))
    t.strictSame([await running(), await left()], [0, 0])
  })

  t.test('or never begun, when there was no connection for it', async (t) => {
    const other = new RequestContext()
    const taken = other.run(() => sleep(db, 20)).catch(() => {})
    const request = new RequestContext()
    let begun = false
    const work = request.run(() => db.transaction(async () => (begun = true)))
    request.end()
    t.ok(isLate(await work.catch((error) => error)))
    other.end()
    await taken
    await sleep(db, 0)
    t.notOk(begun)
  })
})

t.test('a request that ends before the first connection is there leaves the pool usable', async (t) => {
  const { db } = pool(t, 1)
  const request = new RequestContext()
  const work = request.run(() => sleep(db, 20))
  await Promise.resolve()
  request.end()
  t.ok(isLate(await work.catch((error) => error)))
  await sleep(db, 0)
})
