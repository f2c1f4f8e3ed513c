import { randomUUID } from 'node:crypto'
import pino from 'pino'
import t, { type Test } from 'tap'
import type { App } from '../../../../src/app.ts'
import { authenticate } from '../../../../src/platform/host/edge/authenticate.ts'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import type { SessionKeeper } from '../../../../src/platform/host/identity/session-keepers.ts'
import { sessionsIn } from '../../../../src/platform/host/identity/sessions.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { Unavailable } from '../../../../src/platform/kit/errors.ts'
import type { Identity, Role } from '../../../../src/platform/kit/permissions.ts'
import type { ModuleSessions } from '../../../../src/platform/kit/sessions.ts'
import { newId } from '../../../../src/platform/kit/tables.ts'
import { redisServer } from '../../../support/redis-server.ts'
import { until } from '../../../support/until.ts'
import { bootWith, moduleOf } from '../boot.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const tokens = systemTokens(SECRET)
const door = defineContract('sessions-door', { routes: ['/api/door'] })

interface Door {
  sessions: ModuleSessions
  /** Signs in, and gives what a client would carry from then on. */
  enter(identity: Identity, agent?: string): Promise<{ token: string; cookie: string }>
  status(url: string, headers?: Record<string, string>, method?: 'GET' | 'POST'): Promise<number>
  me(headers: Record<string, string>): Promise<Identity>
  app: App
}

/** One process of a system whose only module lets everybody in. */
async function open(
  t: Test,
  build: Awaited<ReturnType<typeof bootWith>>['build'],
  env: Record<string, string> = {},
): Promise<Door> {
  let sessions: ModuleSessions | undefined
  const module = moduleOf(
    door,
    (app) => {
      sessions = app.sessions
      app.post('/api/door/in', { config: { allow: 'anyone' } }, async (request) => {
        const identity = request.body as Identity
        await app.sessions.start(request, identity)
        return app.sessions.token(identity)
      })
      app.post('/api/door/in-vain', { config: { allow: 'anyone' } }, async (request) => {
        await app.sessions.start(request, request.body as Identity)
        throw new Unavailable('sessions-door')
      })
      app.post('/api/door/out', { config: { allow: 'user' } }, async (request, reply) => {
        await app.sessions.stop(request, reply)
        return reply.code(204).send()
      })
      app.get('/api/door/me', { config: { allow: 'user' } }, async ({ identity }) => identity)
      app.get('/api/door/open', { config: { allow: 'anyone' } }, async ({ identity }) => ({ identity }))
    },
    { signsIn: true },
  )
  const app = await build(t, [module], { SECRET, ...env })
  return {
    app,
    sessions: sessions!,
    async enter(identity, agent = 'a browser') {
      const answer = await app.api.inject({
        method: 'POST',
        url: '/api/door/in',
        payload: identity,
        headers: { 'user-agent': agent },
      })
      if (answer.statusCode !== 200) throw new Error(answer.payload)
      const cookie = String(answer.headers['set-cookie']).split(';')[0]!
      return { token: answer.json().token, cookie }
    },
    async status(url, headers = {}, method = 'GET') {
      return (await app.api.inject({ method, url, headers })).statusCode
    },
    async me(headers) {
      return (await app.api.inject({ url: '/api/door/me', headers })).json()
    },
  }
}

const somebody = (roles: Role[] = ['member'], userId: string = randomUUID()): Identity => ({
  userId,
  roles,
  sessionId: newId(),
})
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

t.setTimeout(240_000)

for (const keeper of ['postgres', 'redis'] as const) {
  t.test(`sessions kept in ${keeper}`, async (t) => {
    const { build } = await bootWith(t, keeper)
    const [one, two] = await Promise.all([open(t, build), open(t, build)])

    t.test('token and cookie are good in every process, until the session is stopped in one', async (t) => {
      const ada = somebody()
      const { token, cookie } = await one.enter(ada)
      for (const process of [one, two]) {
        t.same(await process.me(bearer(token)), ada)
        t.same(await process.me({ cookie }), ada)
      }
      const out = await one.app.api.inject({ method: 'POST', url: '/api/door/out', headers: bearer(token) })
      t.equal(out.statusCode, 204)
      t.match(out.headers['set-cookie'], /^sid=;.*(Expires=Thu, 01 Jan 1970|Max-Age=0)/, 'the cookie is taken back')
      for (const process of [two, one]) {
        t.equal(await process.status('/api/door/me', bearer(token)), 401)
        t.equal(await process.status('/api/door/open', bearer(token)), 401, 'a token that is none is said to be so')
        t.equal(await process.status('/api/door/me', { cookie }), 401)
        t.equal(await process.status('/api/door/open', { cookie }), 200)
      }
    })

    t.test('a list has what a user may see of their sessions, newest first, and nobody else’s', async (t) => {
      const [first, other] = [somebody(), somebody()]
      await one.enter(first, 'a telephone')
      const began = Date.now()
      await until('a later moment', () => Date.now() > began)
      const second = { ...first, sessionId: newId() }
      await two.enter(second, 'x'.repeat(1_000))
      await two.enter(other)
      for (const { sessions } of [one, two]) {
        const list = await sessions.list(first.userId)
        t.same(
          list.map(({ id }) => id),
          [second.sessionId, first.sessionId],
        )
        t.strictSame(Object.keys(list[0]!).sort(), ['address', 'createdAt', 'device', 'id', 'lastUsedAt'])
        t.match(list[1], { device: 'a telephone', address: '127.0.0.1' })
        t.equal(list[0]!.device?.length, 200)
        for (const { createdAt, lastUsedAt } of list)
          for (const at of [createdAt, lastUsedAt]) t.equal(new Date(at).toISOString(), at)
      }
      t.same(await one.sessions.list(randomUUID()), [])
    })

    t.test('to start a session that is there makes it last on, and keeps when it began', async (t) => {
      const ada = somebody()
      const { token } = await one.enter(ada)
      const [before] = await one.sessions.list(ada.userId)
      const again = await two.enter({ ...ada, roles: ['member', 'moderator'] })
      const [after, ...more] = await one.sessions.list(ada.userId)
      t.same(more, [])
      t.equal(after!.createdAt, before!.createdAt)
      for (const carried of [bearer(token), bearer(again.token), { cookie: again.cookie }])
        t.same((await one.me(carried)).roles, ['member', 'moderator'])
    })

    t.test('who signs in anew leaves the session of before, and only then', async (t) => {
      const ada = somebody()
      const before = await one.enter(ada)
      const enter = (url: string, sessionId: string) =>
        two.app.api.inject({
          method: 'POST',
          url,
          payload: { ...ada, sessionId },
          headers: { cookie: before.cookie },
        })
      t.equal((await enter('/api/door/in-vain', newId())).statusCode, 503)
      t.equal(await one.status('/api/door/me', { cookie: before.cookie }), 200)
      t.equal((await enter('/api/door/in', ada.sessionId)).statusCode, 200)
      t.equal(await one.status('/api/door/me', { cookie: before.cookie }), 200, 'the same session goes on')
      const after = await enter('/api/door/in', newId())
      t.equal(after.statusCode, 200)
      t.equal(await one.status('/api/door/me', { cookie: before.cookie }), 401)
      const [cookie] = String([after.headers['set-cookie']].flat().at(-1)).split(';')
      t.equal(await one.status('/api/door/me', { cookie: cookie! }), 200)
    })

    t.test('one session is ended by its user alone', async (t) => {
      const [ada, bob] = [somebody(), somebody()]
      const { token } = await one.enter(ada)
      t.equal(await two.sessions.end(bob.userId, ada.sessionId), false)
      t.equal(await two.sessions.end(ada.userId, newId()), false)
      t.equal(await one.status('/api/door/me', bearer(token)), 200)
      t.equal(await two.sessions.end(ada.userId, ada.sessionId), true)
      t.equal(await one.status('/api/door/me', bearer(token)), 401)
      t.equal(await two.sessions.end(ada.userId, ada.sessionId), false)
    })

    t.test('all sessions of a user are ended but the one that is named', async (t) => {
      const userId = randomUUID()
      const identities = Array.from({ length: 5 }, () => somebody(['member'], userId))
      const carried = await Promise.all(identities.map((identity, n) => (n % 2 ? one : two).enter(identity)))
      const bobs = somebody()
      const bob = await one.enter(bobs)
      const statuses = () =>
        Promise.all(
          carried.map(({ token, cookie }, n) => two.status('/api/door/me', n % 2 ? { cookie } : bearer(token))),
        )
      t.same(await statuses(), [200, 200, 200, 200, 200])
      await one.sessions.endAll(userId, identities[2]!.sessionId)
      t.same(await statuses(), [401, 401, 200, 401, 401])
      await one.sessions.endAll(userId)
      t.same(await statuses(), [401, 401, 401, 401, 401])
      t.same(await two.sessions.list(userId), [])
      const all = [bobs, ...identities].map(({ sessionId }) => sessionId)
      t.same([...(await two.sessions.underWay(all))], [bobs.sessionId])
      await one.sessions.endAll(userId)
      t.equal(await two.status('/api/door/me', bearer(bob.token)), 200)
    })

    t.test('new roles hold at once in the sessions that are under way, and end none', async (t) => {
      const userId = randomUUID()
      const [first, second] = [somebody(['member'], userId), somebody(['member'], userId)]
      const carried = [await one.enter(first), await two.enter(second)]
      const bob = somebody()
      const bobs = await one.enter(bob)
      await one.sessions.setRoles(userId, ['member', 'admin'])
      for (const process of [one, two])
        for (const { token, cookie } of carried) {
          t.same((await process.me(bearer(token))).roles, ['member', 'admin'])
          t.same((await process.me({ cookie })).roles, ['member', 'admin'])
        }
      t.same((await two.me(bearer(bobs.token))).roles, ['member'])
      t.equal((await two.sessions.list(userId)).length, 2)
      await one.sessions.endAll(userId)
      await one.sessions.setRoles(userId, ['member'])
      t.same(await one.sessions.list(userId), [], 'what has ended does not come back')
    })

    t.test('a token is worth nothing without its session, nor with that of somebody else', async (t) => {
      const [ada, bob] = [somebody(), somebody(['admin'])]
      const { token } = await one.enter(ada)
      await one.enter(bob)
      const forged = [
        one.sessions.token(somebody()).token,
        one.sessions.token({ ...ada, sessionId: bob.sessionId }).token,
        systemTokens('another secret, and of enough length, too').user.sign('api', ada),
        tokens.user.sign('sessions-door', ada),
        tokens.identity.sign('sessions-door', { identity: bob }),
        `${token}x`,
      ]
      for (const value of forged) t.equal(await two.status('/api/door/me', bearer(value)), 401)
      t.equal(await two.status('/api/door/me', bearer(token)), 200)
      for (const cookie of [`sid=${ada.sessionId}`, `sid=${ada.sessionId}.x`, 'sid=', 'sid=%00'])
        t.equal(await two.status('/api/door/me', { cookie }), 401, cookie)
    })
  })
}

t.test('a request reads its session once, and a sign-in writes one once', async (t) => {
  const asked: string[] = []
  const kept = new Map<string, Record<string, unknown>>()
  const noting =
    <A extends unknown[], R>(name: string, work: (...args: A) => R) =>
    async (...args: A) => {
      asked.push(name)
      return work(...args)
    }
  const keeper: SessionKeeper = {
    get: noting('get', (id: string) => {
      const data = kept.get(id)
      return data ? { id, data, lastUsedAt: new Date() } : null
    }),
    set: noting('set', (id: string, data: Record<string, unknown>) => void kept.set(id, data)),
    replace: noting('replace', () => {}),
    touch: noting('touch', () => {}),
    noteWrite: noting('noteWrite', () => {}),
    destroy: noting('destroy', (id: string) => void kept.delete(id)),
    among: noting('among', () => []),
    list: noting('list', () => []),
  }
  const log = pino({ level: 'silent' })
  const sessions = sessionsIn(keeper, { secret: SECRET, tokens, log })
  const server = createServer({ log, trustProxy: [] })
  t.teardown(() => server.close())
  authenticate(server, { edge: true, tokens, sessions })
  await server.register(async (scope) => {
    await sessions.register(scope)
    const config = { allow: 'anyone', module: door.name } as const
    scope.post('/in', { config }, async (request) => {
      await sessions.start(request, somebody())
      return {}
    })
    scope.get('/me', { config }, async ({ identity }) => ({ identity }))
  })
  const { headers } = await server.inject({ method: 'POST', url: '/in' })
  t.strictSame(asked.splice(0), ['get', 'set'])
  const me = await server.inject({ url: '/me', headers: { cookie: String(headers['set-cookie']).split(';')[0]! } })
  t.ok(me.json().identity.userId)
  t.equal(me.headers['set-cookie'], undefined)
  t.strictSame(asked.splice(0), ['get'])
})

/** What is said when sessions cannot be read: not that nobody is signed in. */
async function saysAway(
  t: Test,
  { app, sessions, status }: Door,
  { token, cookie }: { token: string; cookie: string },
) {
  for (const headers of [bearer(token), { cookie }] as Record<string, string>[]) {
    const answer = await app.api.inject({ url: '/api/door/me', headers })
    t.match([answer.statusCode, answer.json().code, answer.json().module], [503, 'Unavailable', 'sessions'])
    t.ok(Number(answer.headers['retry-after']) >= 1)
  }
  t.equal(await status('/api/door/open'), 200, 'who is not signed in is served')
  t.equal(await status('/api/door/me', bearer('a.b.c')), 401, 'a token that is none needs no sessions')
  const entering = await app.api.inject({ method: 'POST', url: '/api/door/in', payload: somebody() })
  t.equal(entering.statusCode, 503)
  const work = [
    () => sessions.list(randomUUID()),
    () => sessions.underWay([newId()]),
    () => sessions.end(randomUUID(), newId()),
    () => sessions.endAll(randomUUID()),
    () => sessions.setRoles(randomUUID(), []),
  ]
  for (const what of work) await t.rejects(async () => void (await what()), { code: 'Unavailable' })
}

t.test('while PostgreSQL does not give sessions, whoever needs one is told to come again', async (t) => {
  const { build, sql } = await bootWith(t)
  const process = await open(t, build)
  const carried = await process.enter(somebody())
  await sql`alter table seam.sessions rename to away`
  await saysAway(t, process, carried)
  await sql`alter table seam.away rename to sessions`
  t.equal(await process.status('/api/door/me', bearer(carried.token)), 200)
})

t.test('while PostgreSQL is slow to give sessions, nobody waits for long, and nothing is left behind', async (t) => {
  const { build, sql } = await bootWith(t)
  const process = await open(t, build)
  const carried = await process.enter(somebody())
  const began = performance.now()
  await sql.begin(async (tx) => {
    await tx`lock table seam.sessions`
    // More than there are connections.
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        process.status('/api/door/me', n % 2 ? bearer(carried.token) : { cookie: carried.cookie }),
      ),
    )
    t.same([...new Set(answers)], [503])
    t.ok(performance.now() - began < 4_000, `${performance.now() - began} ms`)
    await until('nobody waits for the table', async () => {
      const waiting =
        await sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      return waiting.length === 0
    })
  })
  t.equal(await process.status('/api/door/me', bearer(carried.token)), 200)
})

t.test('while Redis is away, whoever needs a session is told to come again', async (t) => {
  const redis = await redisServer()
  t.teardown(() => redis.signal('SIGKILL'))
  await redis.start()
  const { build } = await bootWith(t)
  const process = await open(t, build, { REDIS_URL: redis.url })
  const carried = await process.enter(somebody())
  await redis.signal('SIGKILL')
  await saysAway(t, process, carried)
})
