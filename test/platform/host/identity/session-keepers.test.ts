import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openPlatformDatabase } from '../../../../src/platform/host/data/databases.ts'
import { migrate, PLATFORM_SCHEMA } from '../../../../src/platform/host/data/migrate.ts'
import {
  postgresKeeper,
  redisKeeper,
  type SessionKeeper,
} from '../../../../src/platform/host/identity/session-keepers.ts'
import { freshDatabase } from '../../../support/database.ts'
import { freshRedis } from '../../../support/redis.ts'
import { until } from '../../../support/until.ts'

const folder = new URL('../../../../migrations', import.meta.url).pathname
const inAnHour = () => new Date(Date.now() + 3_600_000)
const inAMoment = () => new Date(Date.now() + 300)

/** What every keeper of sessions must do. */
function keeperSuite(t: Test, sessions: SessionKeeper): void {
  const userId = randomUUID()
  const keeper = {
    get: async (id: string) => (await sessions.get(id))?.data ?? null,
    set: (id: string, data: object, expiresAt: Date) => sessions.set(id, { ...data }, { userId, expiresAt }),
    destroy: (id: string) => sessions.destroy(id),
  }

  t.test('a session is found by its id, as it was set', async (t) => {
    const id = randomUUID()
    const data = {
      identity: { userId: randomUUID(), roles: ['member', 'admin'] },
      cookie: { maxAge: 1, secure: false },
      nothing: null,
    }
    await keeper.set(id, data, inAnHour())
    t.same(await keeper.get(id), data)
    t.same(await keeper.get(id), data, 'and again')
  })

  t.test('an id that nobody has gives null', async (t) => {
    t.equal(await keeper.get(randomUUID()), null)
    t.equal(await keeper.get(''), null)
    t.equal(await keeper.get("'; drop table seam.sessions; --"), null)
  })

  t.test('a session that is set again is replaced, data and expiry', async (t) => {
    const id = randomUUID()
    await keeper.set(id, { first: true }, inAMoment())
    await keeper.set(id, { second: true }, inAnHour())
    const end = Date.now() + 500
    await until('the first expiry', () => Date.now() > end)
    t.same(await keeper.get(id), { second: true })
    await keeper.set(id, { third: true }, inAMoment())
    t.same(await keeper.get(id), { third: true })
    await until('the end of the session', async () => (await keeper.get(id)) === null)
  })

  t.test('a session that is destroyed is gone, and can be destroyed again', async (t) => {
    const [id, other] = [randomUUID(), randomUUID()]
    await keeper.set(id, { a: 1 }, inAnHour())
    await keeper.set(other, { b: 1 }, inAnHour())
    await keeper.destroy(id)
    t.equal(await keeper.get(id), null)
    await keeper.destroy(id)
    await keeper.destroy(randomUUID())
    t.same(await keeper.get(other), { b: 1 }, 'and no other is')
  })

  t.test('of many ids it says whose sessions are there still', async (t) => {
    const [one, two, ended, over] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
    for (const id of [one, two, ended]) await keeper.set(id, { a: 1 }, inAnHour())
    await keeper.set(over, { a: 1 }, new Date(Date.now() - 1000))
    await keeper.destroy(ended)
    t.same((await sessions.among([ended, one, over, randomUUID(), two])).sort(), [one, two].sort())
    t.same(await sessions.among([]), [])
  })

  t.test('a session that is over is not found', async (t) => {
    const id = randomUUID()
    await keeper.set(id, { a: 1 }, new Date(Date.now() - 1000))
    t.equal(await keeper.get(id), null)
  })

  t.test('a session that was over can be set again under its id', async (t) => {
    const id = randomUUID()
    await keeper.set(id, { a: 1 }, new Date(Date.now() - 1000))
    await keeper.set(id, { a: 2 }, inAnHour())
    t.same(await keeper.get(id), { a: 2 })
  })

  t.test('text of every script is kept', async (t) => {
    const id = randomUUID()
    const data = { name: 'Zoë Łukasz Ωμέγα 日本語 עברית 👩‍👩‍👧', 'ключ "\\': '\t\n\u2028\u{1f600}' }
    await keeper.set(id, data, inAnHour())
    t.same(await keeper.get(id), data)
  })

  t.test('of sessions that are set at once under one id, one is kept whole', async (t) => {
    const id = randomUUID()
    await Promise.all(
      Array.from({ length: 50 }, (_, n) => keeper.set(id, { n, text: String(n).repeat(100) }, inAnHour())),
    )
    const found = (await keeper.get(id)) as { n: number; text: string }
    t.equal(found.text, String(found.n).repeat(100))
  })

  t.test('sessions that are set at once do not get into each other’s way, nor into that of old ones', async (t) => {
    const old = Array.from({ length: 200 }, () => randomUUID())
    await Promise.all(old.map((id) => keeper.set(id, { old: true }, new Date(Date.now() - 1000))))
    const ids = Array.from({ length: 200 }, () => randomUUID())
    await Promise.all(ids.map((id, n) => keeper.set(id, { n }, inAnHour())))
    t.same(
      await Promise.all(ids.map((id) => keeper.get(id))),
      ids.map((_, n) => ({ n })),
    )
    t.ok((await Promise.all(old.map((id) => keeper.get(id)))).every((session) => session === null))
  })

  t.test('the sessions of a user are listed, those of others, ended and expired ones are not', async (t) => {
    const [ada, bob] = [randomUUID(), randomUUID()]
    const [first, second, ended, over, others] = Array.from({ length: 5 }, () => randomUUID())
    for (const id of [first, second, ended]) await sessions.set(id!, { id }, { userId: ada, expiresAt: inAnHour() })
    await sessions.set(over!, {}, { userId: ada, expiresAt: new Date(Date.now() - 1000) })
    await sessions.set(others!, {}, { userId: bob, expiresAt: inAnHour() })
    await sessions.destroy(ended!)
    const list = await sessions.list(ada)
    t.same(list.map(({ id }) => id).sort(), [first, second].sort())
    t.same(list.map(({ data }) => data.id).sort(), [first, second].sort())
    t.same(await sessions.list(randomUUID()), [])
  })

  t.test('a list lasts as long as the longest of its sessions', async (t) => {
    const user = randomUUID()
    const [short, long] = [randomUUID(), randomUUID()]
    await sessions.set(long, {}, { userId: user, expiresAt: inAnHour() })
    await sessions.set(short, {}, { userId: user, expiresAt: inAMoment() })
    await until('the end of the short one', async () => (await sessions.get(short)) === null)
    t.same(
      (await sessions.list(user)).map(({ id }) => id),
      [long],
    )
  })

  t.test('a session is replaced and touched only while it is there', async (t) => {
    const id = randomUUID()
    await sessions.replace(id, { back: true })
    await sessions.touch(id)
    t.equal(await sessions.get(id), null, 'neither makes one')
    await sessions.set(id, { roles: ['member'] }, { userId, expiresAt: inAnHour() })
    const before = (await sessions.get(id))!.lastUsedAt
    await until('a later moment', () => Date.now() > before.getTime() + 5)
    await sessions.replace(id, { roles: ['admin'] })
    t.same((await sessions.get(id))!.data, { roles: ['admin'] })
    t.same((await sessions.get(id))!.lastUsedAt, before, 'to replace it is no use of it')
    await sessions.touch(id)
    const touched = (await sessions.get(id))!
    t.ok(touched.lastUsedAt > before)
    t.same(touched.data, { roles: ['admin'] })
  })

  t.test('that a session has written is noted, and does not bring one back that has ended', async (t) => {
    const [id, ended] = [randomUUID(), randomUUID()]
    await keeper.set(id, { roles: ['member'] }, inAnHour())
    for (const at of [1_795_551_320_123, 1_795_551_320_456]) await sessions.noteWrite(id, at)
    const noted = (await sessions.get(id))!
    t.equal(noted.wroteAt, 1_795_551_320_456)
    await sessions.replace(id, { ...noted.data, roles: ['admin'] })
    t.match(await sessions.get(id), { data: { roles: ['admin'] }, wroteAt: 1_795_551_320_456 })
    await sessions.noteWrite(id, 1_795_551_320_789)
    await sessions.replace(id, { ...noted.data, roles: ['member'] })
    t.match(
      await sessions.get(id),
      { data: { roles: ['member'] }, wroteAt: 1_795_551_320_789 },
      'read before it was noted',
    )
    await keeper.set(id, { roles: ['guest'] }, inAnHour())
    t.match(await sessions.get(id), { data: { roles: ['guest'] }, wroteAt: 1_795_551_320_789 }, 'set again')
    await sessions.noteWrite(ended, 1)
    t.equal(await sessions.get(ended), null)
  })
}

t.test('sessions in PostgreSQL', async (t) => {
  const database = await freshDatabase()
  await migrate(database.url, { folder, schemas: [PLATFORM_SCHEMA] })
  const sql = openPlatformDatabase(database.url)
  t.teardown(async () => {
    await sql.end()
    await database.close()
  })
  const keeper = postgresKeeper(sql)
  keeperSuite(t, keeper)

  t.test('what is over is removed as new sessions come', async (t) => {
    await sql`delete from seam.sessions`
    await sql`insert into seam.sessions (id, user_id, data, expires_at)
      select 'old-' || i, ${randomUUID()}, '{}', now() - interval '1 minute' from generate_series(1, 25) as i`
    for (const id of ['a', 'b', 'c']) await keeper.set(id, {}, { userId: randomUUID(), expiresAt: inAnHour() })
    const left = await sql`select id from seam.sessions order by id`
    t.same(
      left.map(({ id }) => id),
      ['a', 'b', 'c'],
    )
  })
})

t.test('while nothing comes back from PostgreSQL, nobody waits for long', async (t) => {
  const database = await freshDatabase()
  await migrate(database.url, { folder, schemas: [PLATFORM_SCHEMA] })
  const { hostname, port } = new URL(database.url)
  const sockets: Socket[] = []
  const way = createServer((socket) => {
    const onward = connect(Number(port || 5432), hostname)
    for (const end of [socket, onward]) sockets.push(end.on('error', () => {}))
    socket.pipe(onward).pipe(socket)
  })
  await once(way.listen(0, '127.0.0.1'), 'listening')
  const url = Object.assign(new URL(database.url), { host: `127.0.0.1:${(way.address() as AddressInfo).port}` })
  const sql = openPlatformDatabase(url.href)
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    way.close()
    await sql.end({ timeout: 1 })
    await database.close()
  })
  const keeper = postgresKeeper(sql)
  t.equal(await keeper.get('a'), null)
  for (const socket of sockets) socket.unpipe().pause()
  const began = performance.now()
  await t.rejects(keeper.get('a'), /has not answered/)
  t.ok(performance.now() - began < 4_000, `${performance.now() - began} ms`)
})

t.test('sessions in Redis', async (t) => {
  const { url, close } = await freshRedis()
  const redis = new Redis(url)
  t.teardown(async () => {
    redis.disconnect()
    await close()
  })
  keeperSuite(t, redisKeeper(redis))

  t.test('what was ended leaves nothing behind', async (t) => {
    await redis.flushdb()
    const keeper = redisKeeper(redis)
    const ids = Array.from({ length: 20 }, () => randomUUID())
    for (const id of ids) await keeper.set(id, {}, { userId: 'x', expiresAt: inAnHour() })
    await Promise.all(ids.slice(1).map((id) => keeper.destroy(id)))
    t.same(await redis.zrange('seam:sessions-of:x', '0', '-1'), ids.slice(0, 1))
    await keeper.destroy(ids[0]!)
    t.equal(await redis.dbsize(), 0)
  })

  t.test('Redis itself removes what is over', async (t) => {
    await redis.flushdb()
    await redisKeeper(redis).set('a', {}, { userId: 'x', expiresAt: inAMoment() })
    t.equal(await redis.dbsize(), 2)
    await until('an empty database', async () => (await redis.dbsize()) === 0)
  })
})
