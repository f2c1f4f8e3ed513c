import pino from 'pino'
import t from 'tap'
import { BootError } from '../../../src/platform/host/boot-error.ts'
import { untilReachable } from '../../../src/platform/host/data/until-reachable.ts'
import { openState } from '../../../src/platform/host/state.ts'
import { freshDatabase } from '../../support/database.ts'
import { freePorts } from '../../support/ports.ts'
import { redisServer } from '../../support/redis-server.ts'

t.jobs = 3

/** A gateway's state: Redis, and nothing else. */
const gateway = (redisUrl: string) =>
  openState({
    hosted: [],
    databaseUrl: undefined,
    moduleDatabaseUrls: new Map(),
    redisUrls: [redisUrl],
    dataFolder: t.testdirName,
    migrations: 'migrations',
    log: pino({ level: 'silent' }),
  })

t.test('a Redis that starts later than the process is waited for', { buffered: true }, async (t) => {
  const redis = await redisServer()
  t.teardown(() => redis.signal('SIGKILL'))
  const opening = gateway(redis.url)
  await redis.start()
  const state = await opening
  t.equal(await state.redis?.ping(), 'PONG')
  await state.close()
})

t.test(
  'a Redis that cannot be reached ends the start, in bounded time, and is named',
  { buffered: true },
  async (t) => {
    const [port] = await freePorts(1)
    const began = performance.now()
    const error = await gateway(`redis://:hidden@127.0.0.1:${port}`).then(
      (state) => state.close(),
      (error) => error,
    )
    t.ok(error instanceof BootError)
    t.strictSame(error.faults, [
      `Redis at 127.0.0.1:${port} cannot be used (REDIS_URL): connect ECONNREFUSED 127.0.0.1:${port}.`,
    ])
    t.ok(performance.now() - began < 15_000)
  },
)

t.test(
  'a server that cannot be reached yet is tried again; what no waiting mends is not',
  { buffered: true },
  async (t) => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    let attempts = 0
    t.equal(await untilReachable(async () => (attempts++ < 2 ? Promise.reject(refused) : 'here')), 'here')
    t.equal(attempts, 3)
    const denied = Object.assign(new Error('denied'), { code: '28P01' })
    await t.rejects(
      untilReachable(async () => Promise.reject(denied)),
      { code: '28P01' },
    )
    await t.rejects(
      untilReachable(async () => Promise.reject(refused)),
      { code: 'ECONNREFUSED' },
    )
  },
)

t.test('a process says where each of its databases is, without passwords', { buffered: true }, async (t) => {
  const [main, own] = await Promise.all([freshDatabase(), freshDatabase()])
  t.teardown(() => Promise.all([main.close(), own.close()]))
  const { host } = new URL(main.url)
  const at = ({ url }: { url: string }) => `PostgreSQL at ${host}${new URL(url).pathname}`
  const open = (hosted: string[], moduleDatabaseUrls: [string, string][]) =>
    openState({
      hosted,
      databaseUrl: main.url,
      moduleDatabaseUrls: new Map(moduleDatabaseUrls),
      redisUrls: [],
      dataFolder: t.testdirName,
      migrations: 'migrations',
      log: pino({ level: 'silent' }),
    })
  const state = await open(
    ['users', 'posts'],
    [
      ['users', own.url],
      ['notifications', 'postgres://user:hidden@elsewhere/seam'],
    ],
  )
  t.strictSame(state.databases, [`${at(main)} (DATABASE_URL)`, `users: ${at(own)} (USERS_DATABASE_URL)`])
  await state.close()
})
