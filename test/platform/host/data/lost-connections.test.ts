// patches/postgres+3.4.9.patch mends what postgres.js does when a connection is lost in the middle of a transaction. These
// tests fail without it.
import postgres, { type Sql } from 'postgres'
import t, { type Test } from 'tap'
import { drizzleOn } from '../../../../src/platform/host/data/drizzle.ts'
import { sql as text } from '../../../../src/platform/kit/tables.ts'
import { freshDatabase } from '../../../support/database.ts'

const database = await freshDatabase()
const admin = postgres(database.url, { max: 2 })
await admin`create table things (n int)`
t.teardown(async () => {
  await admin.end()
  await database.close()
})

/** A pool of one connection, so that what comes next has to use the same one. */
function onePool(t: Test): Sql {
  const sql = postgres(database.url, { max: 1, connect_timeout: 3 })
  t.teardown(() => sql.end({ timeout: 1 }))
  return sql
}

const kill = (pid: number) => admin`select pg_terminate_backend(${pid}, 1000)`
const lost = { code: 'CONNECTION_CLOSED' }

t.test(
  'a transaction that loses its connection while a statement runs is rejected, and the pool goes on',
  async (t) => {
    const sql = onePool(t)
    for (let n = 0; n < 5; n++) {
      const pid = Promise.withResolvers<number>()
      const transaction = sql.begin(async (tx) => {
        pid.resolve((await tx`select pg_backend_pid() as pid`)[0]!.pid)
        await tx`select pg_sleep(10)`
      })
      const rejected = t.rejects(transaction, lost)
      await kill(await pid.promise)
      await rejected
      t.strictSame([...(await sql`select 1 as one`)], [{ one: 1 }], 'what comes next gets its own answer')
    }
  },
)

t.test('what a transaction says after it has lost its connection is not done by another', async (t) => {
  const sql = onePool(t)
  const db = drizzleOn(sql)
  const transactions = {
    'of the driver': (work: (insert: (n: number) => Promise<unknown>, pid: () => Promise<number>) => Promise<void>) =>
      sql.begin((tx) =>
        work(
          (n) => tx`insert into things values (${n})`,
          async () => (await tx`select pg_backend_pid() as pid`)[0]!.pid,
        ),
      ),
    'of drizzle': (work: (insert: (n: number) => Promise<unknown>, pid: () => Promise<number>) => Promise<void>) =>
      db.transaction((tx) =>
        work(
          (n) => tx.execute(text`insert into things values (${n})`),
          async () => Number((await tx.execute(text`select pg_backend_pid() as pid`))[0]!.pid),
        ),
      ),
  }
  for (const [what, begin] of Object.entries(transactions)) {
    const [pid, gate, end] = [
      Promise.withResolvers<number>(),
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
    ]
    const transaction = begin(async (insert, pidOf) => {
      await insert(1)
      pid.resolve(await pidOf())
      await gate.promise
      await t.rejects(insert(2), 'it is refused')
      end.resolve()
    })
    const rejected = t.rejects(transaction, lost, what)
    await kill(await pid.promise)
    await rejected
    await sql.begin(async (tx) => {
      await tx`insert into things values (3)`
      gate.resolve()
      await end.promise
    })
    t.strictSame([...(await admin`select n from things`)], [{ n: 3 }], `${what}: another transaction is left alone`)
    await admin`delete from things`
  }
})

t.test('many transactions that lose their connections at once all hear of it', async (t) => {
  const sql = postgres(database.url, { max: 8, connect_timeout: 3, connection: { application_name: 'many' } })
  t.teardown(() => sql.end({ timeout: 1 }))
  for (let n = 0; n < 5; n++) {
    let running = 0
    const all = Promise.withResolvers<void>()
    const transactions = Array.from({ length: 16 }, () =>
      sql.begin(async (tx) => {
        await tx`insert into things values (1)`
        if (++running === 8) all.resolve()
        await tx`select pg_sleep(0.3)`
      }),
    )
    const settled = Promise.allSettled(transactions)
    await all.promise
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'many'`
    const done = (await settled).filter(({ status }) => status === 'fulfilled').length
    t.equal((await admin`select from things`).length, done, `${done} of 16 were done, and that is what there is`)
    t.equal((await sql`select 1`).length, 1)
    await admin`delete from things`
  }
})

t.test('who waits for a connection that is lost gets their own answer on the next one', async (t) => {
  const sql = onePool(t)
  const pid = Promise.withResolvers<number>()
  const transaction = sql.begin(async (tx) => {
    pid.resolve((await tx`select pg_backend_pid() as pid`)[0]!.pid)
    await tx`select pg_sleep(10)`
  })
  const rejected = t.rejects(transaction, lost)
  const waiting = Promise.all(Array.from({ length: 20 }, (_, n) => sql`select ${n}::int as n`))
  await kill(await pid.promise)
  await rejected
  t.strictSame(
    (await waiting).map(([row]) => row?.n),
    Array.from({ length: 20 }, (_, n) => n),
  )
})
