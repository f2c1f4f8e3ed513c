// What the event system does when Redis or PostgreSQL goes away under it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { buildApp } from '../../../../src/app.ts'
import { readConfig } from '../../../../src/config.ts'
import { catalogue } from '../../../../src/modules/catalogue.ts'
import { findPostmaster } from '../../../../src/platform/host/data/embedded-postgres/server.ts'
import { acquireEmbeddedPostgres } from '../../../../src/platform/host/data/embedded-postgres.ts'
import { freshDatabase } from '../../../support/database.ts'
import { type EventHost, type EventHostOptions, eventHost, eventMigrations } from '../../../support/event-host.ts'
import { freePorts } from '../../../support/ports.ts'
import { redisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'

t.setTimeout(580_000)
const migrations = await eventMigrations()
t.teardown(() => migrations.remove())
const rejections: unknown[] = []
const remember = (reason: unknown) => rejections.push(reason)
process.on('unhandledRejection', remember)
t.teardown(() => process.off('unhandledRejection', remember))

const timed = async (work: Promise<unknown>) => {
  const started = performance.now()
  await work
  return performance.now() - started
}

/** A database, a Redis server of its own, and hosts on them. */
async function withRedis(t: Test) {
  const database = await freshDatabase()
  const redis = await redisServer()
  await redis.start()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  const hosts: EventHost[] = []
  t.teardown(async () => {
    await redis.signal('SIGCONT')
    await Promise.all(hosts.map((host) => host.close()))
    await redis.signal('SIGKILL')
    await sql.end()
    await database.close()
  })
  const env = { DATABASE_URL: database.url, REDIS_URL: redis.url }
  return {
    env,
    redis,
    sql,
    build: async (options: Partial<EventHostOptions> = {}) => {
      const host = await eventHost({ env, migrations: migrations.folder, ...options })
      hosts.push(host)
      return host
    },
    ...observe(sql),
  }
}

function observe(sql: postgres.Sql) {
  return {
    sent: (count: number) =>
      until(
        'a delivery to the queue',
        async () => (await sql`select from alpha.outbox_deliveries where attempts >= 1`).length === count,
      ),
    passDeadline: () => sql`update alpha.outbox_deliveries set due_at = now() where confirmed_at is null`,
    confirmed: (count: number, timeout = 15_000) =>
      until(
        `${count} confirmed deliveries`,
        async () => (await sql`select from alpha.outbox_deliveries where confirmed_at is not null`).length === count,
        timeout,
      ),
    effects: (module: string) => sql`select n from ${sql(module)}.effects order by at`,
  }
}

t.test('an event that was in a Redis that is emptied is delivered after its deadline', async (t) => {
  const system = await withRedis(t)
  const publisher = await system.build({ hosted: ['alpha'] })
  await publisher.start()
  await publisher.publish('k', 1)
  await system.sent(2)
  await system.redis.flush()
  const subscribers = await system.build({ hosted: ['beta', 'gamma'] })
  await subscribers.start()
  await publisher.publish('k', 2)
  await publisher.publish('other', 3)
  await system.confirmed(2)
  t.match(
    [...(await system.effects('beta'))],
    [{ n: 3 }],
    'the first is lost to the queue, and the next of its key waits',
  )
  await system.passDeadline()
  await system.confirmed(6)
  for (const module of ['beta', 'gamma'])
    t.same([...(await system.effects(module))], [{ n: 3 }, { n: 1 }, { n: 2 }], 'in the order of their effects')
})

t.test('events published before, while and after Redis is away take effect once each', async (t) => {
  const system = await withRedis(t)
  const host = await system.build()
  await host.start()
  await host.publish('k', 1)
  await system.confirmed(2)
  const waiting = await system.build({ hosted: ['alpha'] })
  await system.redis.signal('SIGKILL')
  await host.publish('k', 2)
  await until('a delivery that was put off', async () => {
    const rows = await system.sql`select from alpha.outbox_deliveries where confirmed_at is null and due_at > now()`
    return rows.length === 2
  })
  await waiting.publish('k', 3)
  await system.redis.start()
  await host.publish('k', 4)
  await system.confirmed(8, 30_000)
  for (const module of ['beta', 'gamma'])
    t.same([...(await system.effects(module))], [{ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }])
})

t.test('a process that starts while Redis is away waits for it, and delivers what has waited', async (t) => {
  const system = await withRedis(t)
  const first = await system.build()
  await first.start()
  await system.redis.signal('SIGKILL')
  await first.publish('k', 1)
  await first.close()
  const second = system.build()
  await system.redis.start()
  await (await second).start()
  await system.confirmed(2, 30_000)
  t.same([...(await system.effects('beta'))], [{ n: 1 }])
})

for (const [how, signal] of [
  ['dead', 'SIGKILL'],
  ['not answering', 'SIGSTOP'],
] as const) {
  t.test(`an application closes within 5 s when Redis is ${how}`, async (t) => {
    const system = await withRedis(t)
    const app = await application({ ...system.env })
    await app.listen()
    await system.redis.signal(signal)
    const took = await timed(app.close())
    t.ok(took < 5_000, `${took} ms`)
  })
}

t.test('an application on an own PostgreSQL', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'seam-loss-'))
  const first = await acquireEmbeddedPostgres({ folder })
  t.teardown(async () => {
    await first.release()
    await rm(folder, { recursive: true, force: true })
  })
  const stop = async () => {
    const running = await findPostmaster(join(folder, 'cluster', 'data'))
    process.kill(running!.pid, 'SIGINT')
    await until('the end of PostgreSQL', async () => !(await findPostmaster(join(folder, 'cluster', 'data'))))
  }

  await t.test('delivers after PostgreSQL was restarted, events and queue', async (t) => {
    const host = await eventHost({ env: { DATABASE_URL: first.url }, migrations: migrations.folder })
    await host.start()
    await host.publish('k', 1)
    await stop()
    await t.rejects(host.publish('k', 2))
    const again = await acquireEmbeddedPostgres({ folder })
    t.equal(again.url, first.url)
    const sql = postgres(again.url, { max: 1, onnotice: () => {} })
    t.teardown(async () => {
      await host.close()
      await sql.end()
      await again.release()
    })
    const { passDeadline, confirmed, effects } = observe(sql)
    await until('a commit', () =>
      host.publish('k', 3).then(
        () => true,
        () => false,
      ),
    )
    await passDeadline()
    await confirmed(4, 40_000)
    t.same([...(await effects('beta'))], [{ n: 1 }, { n: 3 }])
  })

  await t.test('closes within 5 s when PostgreSQL is dead', async (t) => {
    const again = await acquireEmbeddedPostgres({ folder })
    const app = await application({ DATABASE_URL: again.url })
    await app.listen()
    await stop()
    const took = await timed(app.close())
    t.ok(took < 5_000, `${took} ms`)
    await again.release()
  })
})

t.test('through all of this, no rejected promise went unhandled', async (t) => {
  t.same(rejections, [])
})

async function application(env: Record<string, string>) {
  const [port, opsPort] = await freePorts(2)
  const config = readConfig(
    {
      NODE_ENV: 'test',
      SECRET: 'a secret that only these tests know, of enough length',
      PORT: `${port}`,
      OPS_PORT: `${opsPort}`,
      ...env,
    },
    catalogue,
  )
  return buildApp(config, pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' }))
}
