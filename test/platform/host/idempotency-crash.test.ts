// What a request that is repeated finds when the process that did its work has died: real processes, killed by SIGKILL.
import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { provideShop } from '../../support/shop.ts'
import { startShopProcess } from '../../support/shop-processes.ts'
import { until } from '../../support/until.ts'
import { bootWith } from './boot.ts'

t.setTimeout(240_000)
const { env, sql } = await bootWith(t)
await provideShop(env.DATABASE_URL!)

const startShop = async (t: Test, DIE = '') => {
  const { url, exit } = await startShopProcess(t, { ...env, DIE })
  return { url: `${url}/api/orders`, exit }
}

const order = async (url: string, name: string, key: string) => {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ name }) })
  return {
    status: answer.status,
    replayed: answer.headers.get('idempotency-replayed'),
    body: (await answer.json()) as any,
  }
}
const orders = (name: string) => sql`select id from shop.orders where name = ${name}`

t.test('killed between the commit and the answer: the repetition gets the first answer', async (t) => {
  const [first, second] = await Promise.all([startShop(t, 'before the answer'), startShop(t)])
  const [name, key] = [randomUUID(), randomUUID()]
  await t.rejects(order(first!.url, name, key), 'nobody hears the first answer')
  t.strictSame(await first!.exit, [null, 'SIGKILL'])
  const [row, ...more] = await orders(name)
  t.strictSame(more, [])
  const again = await order(second!.url, name, key)
  t.strictSame(again, { status: 201, replayed: 'true', body: { data: { id: row!.id, name } } })
  t.equal((await orders(name)).length, 1, 'there is one effect')
  t.equal((await order(second!.url, `${name}!`, key)).status, 422)
})

t.test('killed before the commit: nothing was done, and the repetition does it', async (t) => {
  const [first, second] = await Promise.all([startShop(t, 'before the commit'), startShop(t)])
  const [name, key] = [randomUUID(), randomUUID()]
  await t.rejects(order(first!.url, name, key))
  t.strictSame(await first!.exit, [null, 'SIGKILL'])
  t.strictSame([...(await orders(name))], [])
  const again = await order(second!.url, name, key)
  t.match(again, { status: 201, replayed: null, body: { data: { name } } })
  t.strictSame(await order(second!.url, name, key), { ...again, replayed: 'true' })
  t.equal((await orders(name)).length, 1)
})

t.test('a connection that is lost while others wait for it: one of them does the work', async (t) => {
  const shop = await startShop(t)
  const [name, key] = [randomUUID(), randomUUID()]
  const lost = postgres(env.DATABASE_URL!, { max: 1, onnotice: () => {} })
  t.teardown(() => lost.end({ timeout: 1 }))
  const claimed = Promise.withResolvers<number>()
  const holding = lost.begin(async (tx) => {
    await tx`insert into shop.idempotency_keys (caller, key, fingerprint) values ('anyone', ${key}, '')`
    claimed.resolve((await tx`select pg_backend_pid() as pid`)[0]!.pid)
    await tx`select pg_sleep(30)`
  })
  const ended = t.rejects(holding)
  const pid = await claimed.promise
  const waiting = Promise.all([1, 2, 3, 4].map(() => order(shop.url, name, key)))
  await until('four that wait', async () => {
    const [row] = await sql`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%idempotency_keys%'`
    return row!.count === 4
  })
  await sql`select pg_terminate_backend(${pid})`
  await ended
  const answers = await waiting
  t.strictSame([...new Set(answers.map(({ status }) => status))], [201])
  t.equal(new Set(answers.map(({ body }) => body.data.id)).size, 1)
  t.equal((await orders(name)).length, 1)
})
