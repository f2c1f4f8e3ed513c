// What is left of a transaction whose connection is lost. Without the patch of the driver (patches/) the process ends by an
// uncaught exception, or the connection that replaces the lost one is never written to.
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { freshDatabase } from '../../../support/database.ts'

const database = await freshDatabase()
const open = () => postgres(database.url, { max: 1, fetch_types: false, onnotice: () => {} })
const admin = open()
t.teardown(async () => {
  await admin.end()
  await database.close()
})
const end = (pid: number) => admin`select pg_terminate_backend(${pid})`
await admin`create table written (n int)`

async function client(t: { teardown(close: () => Promise<void>): void }) {
  const sql = open()
  t.teardown(() => sql.end({ timeout: 1 }))
  return sql
}

t.test('lost while a statement runs: it fails, and the next one gets a connection', async (t) => {
  const sql = await client(t)
  for (let n = 0; n < 5; n++) {
    const lost = sql.begin(async (tx) => {
      const [row] = await tx`select pg_backend_pid() as pid`
      const running = tx`select pg_sleep(30)`
      running.catch(() => {})
      await sleep(n * 2)
      await end(row!.pid)
      await running
    })
    await t.rejects(lost)
    t.strictSame([...(await sql`select 7 as n`)], [{ n: 7 }])
  }
})

t.test('lost between two statements: the second is not written on the connection of others', async (t) => {
  const sql = await client(t)
  const lost = sql.begin(async (tx) => {
    const [row] = await tx`select pg_backend_pid() as pid`
    await end(row!.pid)
    // By now the connection has been made again, for somebody else.
    await sleep(50)
    t.strictSame([...(await sql`select 7 as n`)], [{ n: 7 }])
    await t.rejects(tx`insert into written values (1)`)
    await t.rejects(tx`insert into written values (2)`)
  })
  await t.rejects(lost)
  await sleep(50)
  t.strictSame([...(await sql`select n from written`)], [])
  await sql.begin((tx) => tx`insert into written values (3)`)
  t.strictSame([...(await admin`select n from written`)], [{ n: 3 }])
})

t.test('lost while others wait for a connection: all are answered', async (t) => {
  const sql = await client(t)
  const lost = sql.begin(async (tx) => {
    const [row] = await tx`select pg_backend_pid() as pid`
    await end(row!.pid)
    await tx`select pg_sleep(30)`
  })
  const others = Array.from({ length: 20 }, (_, n) => sql`select ${n}::int as n`)
  await t.rejects(lost)
  const answers = await Promise.allSettled(others)
  for (const [n, answer] of answers.entries())
    if (answer.status === 'fulfilled') t.strictSame([...answer.value], [{ n }], 'each its own answer')
  t.strictSame([...(await sql`select 7 as n`)], [{ n: 7 }])
})
