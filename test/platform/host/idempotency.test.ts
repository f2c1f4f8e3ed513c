import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { App } from '../../../src/app.ts'
import { systemTokens } from '../../../src/platform/host/identity/tokens.ts'
import { type Interference, provideShop, shop, shopModule } from '../../support/shop.ts'
import { until } from '../../support/until.ts'
import { bootWith } from './boot.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const tokens = systemTokens(SECRET)
const { build, env, sql } = await bootWith(t)
const open = (t: Parameters<typeof build>[0], interference?: Interference, env: Record<string, string> = {}) =>
  build(t, [shopModule(interference)], { SECRET, ...env })

await provideShop(env.DATABASE_URL!)
const shopper = randomUUID()

interface Order {
  key?: string | undefined
  userId?: string
  url?: string
  /** Milliseconds that the caller waits. */
  timeout?: number
}

/** Orders as a gateway passes them on: it vouches for the user. */
async function order({ api }: App, payload: object, { key, userId, url = '/api/orders', timeout }: Order) {
  const identity = userId ? { userId, roles: [], sessionId: userId } : null
  const answer = await api.inject({
    method: 'POST',
    url,
    payload,
    headers: {
      'x-seam-identity': tokens.identity.sign(shop.name, { identity }),
      ...(timeout && { 'x-seam-timeout': String(timeout) }),
      ...(key !== undefined && { 'idempotency-key': key }),
    },
  })
  return { status: answer.statusCode, replayed: answer.headers['idempotency-replayed'], body: answer.json() }
}

const orders = async (name: string) => (await sql`select id from shop.orders where name = ${name}`).length
const kept = async (key: string) => [...(await sql`select * from shop.idempotency_keys where key = ${key}`)]

t.test('the same key and body get the first answer again, and nothing is done anew', async (t) => {
  const app = await open(t)
  const [key, name] = [randomUUID(), randomUUID()]
  const first = await order(app, { name }, { key })
  t.match(first, { status: 201, replayed: undefined, body: { data: { name } } })
  for (let n = 0; n < 3; n++) t.strictSame(await order(app, { name }, { key }), { ...first, replayed: 'true' })
  t.equal(await orders(name), 1)
})

t.test('a body with its fields in another order is the same', async (t) => {
  const app = await open(t)
  const [key, name] = [randomUUID(), randomUUID()]
  const first = await order(app, { name, secret: 's' }, { key })
  t.strictSame(await order(app, { secret: 's', name }, { key }), { ...first, replayed: 'true' })
  t.equal(await orders(name), 1)
})

t.test('without a key everything is done each time', async (t) => {
  const app = await open(t)
  const name = randomUUID()
  const [one, two] = [await order(app, { name }, {}), await order(app, { name }, {})]
  t.not(one.body.data.id, two.body.data.id)
  t.strictSame([one.replayed, two.replayed], [undefined, undefined])
  t.equal(await orders(name), 2)
})

t.test('a key that came with another body or path is refused, and goes on to be good for the first', async (t) => {
  const app = await open(t)
  const [key, name] = [randomUUID(), randomUUID()]
  const first = await order(app, { name }, { key })
  for (const [body, url] of [
    [{ name: `${name}!` }, '/api/orders'],
    [{ name, secret: '' }, '/api/orders'],
    [{ name }, '/api/offers'],
    [{ name }, '/api/orders?x=1'],
  ] as const) {
    const { status, replayed, body: problem } = await order(app, body, { key, url })
    t.match([status, problem.code, problem.module], [422, 'IdempotencyKeyReused', 'seam'])
    t.equal(replayed, undefined)
    t.notMatch(JSON.stringify(problem), first.body.data.id)
  }
  t.strictSame((await order(app, { name }, { key })).body, first.body)
  t.equal(await orders(name), 1)
})

t.test('each caller has keys of their own', async (t) => {
  const app = await open(t)
  const [key, name] = [randomUUID(), randomUUID()]
  const callers = [{}, { userId: randomUUID() }, { userId: randomUUID() }]
  const answers = await Promise.all(callers.map((caller) => order(app, { name }, { key, ...caller })))
  t.equal(new Set(answers.map(({ body }) => body.data.id)).size, 3)
  for (const [n, caller] of callers.entries())
    t.strictSame((await order(app, { name }, { key, ...caller })).body, answers[n]!.body)
  t.equal(await orders(name), 3)
})

t.test('a key that is none is refused, and nothing is done', async (t) => {
  const app = await open(t)
  const name = randomUUID()
  for (const key of ['', ' ', 'two words', 'x'.repeat(256), 'ü', '\t', 'a\x7f']) {
    const { status, body } = await order(app, { name }, { key })
    t.match([status, body.code, body.errors[0].path], [400, 'BadInput', '/header/idempotency-key'], JSON.stringify(key))
  }
  const twice = await app.api.inject({
    method: 'POST',
    url: '/api/orders',
    payload: { name },
    headers: { 'idempotency-key': ['a', 'b'] as unknown as string },
  })
  t.equal(twice.statusCode, 400)
  t.equal(await orders(name), 0)
  for (const key of ['!', '~', 'x'.repeat(255)]) t.equal((await order(app, { name: key }, { key })).status, 201)
})

t.test('of twenty that come at once one is done, and all get its answer', async (t) => {
  const replicas = await Promise.all([open(t), open(t)])
  const [key, name] = [randomUUID(), randomUUID()]
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => order(replicas[n % 2]!, { name }, { key, userId: shopper })),
  )
  t.strictSame([...new Set(answers.map(({ status }) => status))], [201])
  t.equal(new Set(answers.map(({ body }) => body.data.id)).size, 1)
  t.equal(answers.filter(({ replayed }) => replayed === undefined).length, 1)
  t.equal(await orders(name), 1)
})

t.test('work that throws leaves nothing behind and may be tried again', async (t) => {
  let failures = 2
  const app = await open(t, {
    during: async () => {
      if (failures-- > 0) throw new Error('no')
    },
  })
  const [key, name] = [randomUUID(), randomUUID()]
  for (let n = 0; n < 2; n++) {
    const { status, body } = await order(app, { name }, { key })
    t.match([status, body.code], [500, 'Internal'])
    t.equal(await orders(name), 0)
    t.strictSame(await kept(key), [])
  }
  t.match(await order(app, { name }, { key }), { status: 201, replayed: undefined })
  t.match(await order(app, { name }, { key }), { status: 201, replayed: 'true' })
  t.equal(await orders(name), 1)
})

t.test('when the first one fails, one of those that wait for it does the work', async (t) => {
  const gate = Promise.withResolvers<void>()
  let turn = 0
  const app = await open(t, {
    during: async () => {
      if (turn++ > 0) return
      await gate.promise
      throw new Error('no')
    },
  })
  const [key, name] = [randomUUID(), randomUUID()]
  const first = order(app, { name }, { key })
  await until('the first has begun', () => turn === 1)
  const others = Promise.all(Array.from({ length: 5 }, () => order(app, { name }, { key })))
  await waiting(5)
  gate.resolve()
  t.equal((await first).status, 500)
  const answers = await others
  t.strictSame([...new Set(answers.map(({ status }) => status))], [201])
  t.equal(new Set(answers.map(({ body }) => body.data.id)).size, 1)
  t.equal(await orders(name), 1)
})

t.test('who waits for the first one does so until their deadline, and may ask again', async (t) => {
  const gate = Promise.withResolvers<void>()
  let begun = false
  const app = await open(t, {
    during: async () => {
      begun = true
      await gate.promise
    },
  })
  const [key, name] = [randomUUID(), randomUUID()]
  const first = order(app, { name }, { key })
  await until('the first has begun', () => begun)
  const { status, body } = await order(app, { name }, { key, timeout: 100 })
  t.match([status, body.code], [503, 'DeadlineExceeded'])
  gate.resolve()
  const { body: answer } = await first
  t.strictSame((await order(app, { name }, { key })).body, answer)
  t.equal(await orders(name), 1)
})

/** Until so many statements wait for the end of another transaction. */
const waiting = (count: number) =>
  until(`${count} statements that wait`, async () => {
    const [row] = await sql`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like '%idempotency_keys%'`
    return row!.count === count
  })

t.test('after a day a key is as good as new', async (t) => {
  const app = await open(t)
  const [key, name] = [randomUUID(), randomUUID()]
  const first = await order(app, { name }, { key })
  await sql`update shop.idempotency_keys set created_at = now() - interval '23 h 59 min' where key = ${key}`
  t.strictSame((await order(app, { name }, { key })).body, first.body)
  await sql`update shop.idempotency_keys set created_at = now() - interval '24 h 1 s' where key = ${key}`
  const answers = await Promise.all(Array.from({ length: 8 }, () => order(app, { name: `${name}!` }, { key })))
  t.strictSame([...new Set(answers.map(({ status }) => status))], [201])
  t.equal(new Set(answers.map(({ body }) => body.data.id)).size, 1)
  t.not(answers[0]!.body.data.id, first.body.data.id)
  t.equal(answers.filter(({ replayed }) => replayed).length, 7)
  t.equal(await orders(`${name}!`), 1)
  t.equal((await kept(key)).length, 1)
})

t.test('what is older than a day is removed as new keys come, and does not get into their way', async (t) => {
  const app = await open(t)
  await sql`delete from shop.idempotency_keys`
  await sql`
    insert into shop.idempotency_keys (caller, key, fingerprint, result, created_at)
    select 'anyone', 'old-' || i, '', '', now() - interval '25 h' from generate_series(1, 60) as i`
  const names = Array.from({ length: 12 }, (_, n) => `old-${n + 1}`)
  // Keys that are removed by one and used anew by another at the same moment.
  const answers = await Promise.all(names.map((name) => order(app, { name }, { key: name })))
  t.strictSame([...new Set(answers.map(({ status, replayed }) => `${status} ${replayed}`))], ['201 undefined'])
  for (let n = 0; n < 5; n++) await order(app, { name: 'x' }, { key: randomUUID() })
  const [row] =
    await sql`select count(*)::int as old from shop.idempotency_keys where created_at < now() - interval '24 h'`
  t.equal(row!.old, 0)
})

t.test('what comes out is the same the first time and again, whatever the work gives', async (t) => {
  let result: unknown
  const app = await open(t, { result: () => result })
  const at = new Date()
  for (const [given, expected] of [
    [
      { at, nothing: undefined, text: 'ü\u2028"' },
      { at: at.toISOString(), text: 'ü\u2028"' },
    ],
    [
      [1, null],
      [1, null],
    ],
    [null, null],
    [undefined, null],
  ]) {
    result = given
    const key = randomUUID()
    const [first, again] = [await order(app, { name: 'x' }, { key }), await order(app, { name: 'x' }, { key })]
    t.strictSame(first, { status: 201, replayed: undefined, body: { data: expected } })
    t.strictSame(again, { ...first, replayed: 'true' })
  }
})

t.test('a replica, and one behind a gateway, give the answer of the first', async (t) => {
  const [one, two] = await Promise.all([open(t), open(t)])
  const inside = await open(t, {}, { EDGE: 'false' })
  const { api: url } = await inside.listen()
  const gateway = await open(t, {}, { MODULES: 'none', SHOP_URL: url })
  const [key, name] = [randomUUID(), randomUUID()]
  const throughGateway = (payload: object, key: string) =>
    gateway.api.inject({ method: 'POST', url: '/api/orders', payload, headers: { 'idempotency-key': key } })
  const first = await throughGateway({ name }, key)
  t.match([first.statusCode, first.headers['idempotency-replayed']], [201, undefined])
  for (const app of [one, two, inside])
    t.strictSame(await order(app, { name }, { key }), { status: 201, replayed: 'true', body: first.json() })
  const again = await throughGateway({ name }, key)
  t.match([again.statusCode, again.headers['idempotency-replayed'], again.json()], [201, 'true', first.json()])
  t.equal((await throughGateway({ name: 'x' }, key)).statusCode, 422)
  t.equal((await throughGateway({ name: 'x' }, 'ü')).statusCode, 400)
  t.equal(await orders(name), 1)
})

t.test('the database keeps neither what was sent nor what came out in a form that can be read', async (t) => {
  const app = await open(t)
  const key = randomUUID()
  const secret = 'correct horse battery'
  const { body } = await order(app, { name: 'sealed', secret }, { key })
  t.equal(body.data.secret, secret)
  const [row] = await kept(key)
  t.notMatch(JSON.stringify(row), /correct horse|sealed/)
  t.notMatch(Buffer.from(row!.result, 'base64url').toString('latin1'), /correct horse|sealed/)
  t.strictSame(Object.keys(row!).sort(), ['caller', 'created_at', 'fingerprint', 'key', 'result'])
  const other = await open(t, {}, { SECRET: `${SECRET}!` })
  const [copy, copyKey] = [{ name: 'sealed', secret }, randomUUID()]
  await other.api.inject({ method: 'POST', url: '/api/orders', payload: copy, headers: { 'idempotency-key': copyKey } })
  t.not((await kept(copyKey))[0]!.fingerprint, row!.fingerprint, 'nor can the body be guessed and tried')
})

t.test('a result that was moved to another key or caller does not open there', async (t) => {
  const app = await open(t)
  const [mine, other] = [randomUUID(), randomUUID()]
  const { body } = await order(app, { name: 'x', secret: 'mine' }, { key: mine, userId: shopper })
  await order(app, { name: 'x', secret: 'mine' }, { key: other })
  const [row] = await kept(mine)
  await sql`update shop.idempotency_keys set result = ${row!.result} where key = ${other}`
  const stolen = await order(app, { name: 'x', secret: 'mine' }, { key: other })
  t.match([stolen.status, stolen.body.code], [422, 'IdempotencyResultLost'])
  t.notMatch(JSON.stringify(stolen.body), body.data.id)
})

t.test(
  'after SECRET has changed a key from before is refused in words of its own, and new ones are good',
  async (t) => {
    const [before, after] = [await open(t), await open(t, {}, { SECRET: 'another secret, and of enough length, too' })]
    const [key, name] = [randomUUID(), randomUUID()]
    const post = (app: App, key: string) =>
      app.api.inject({ method: 'POST', url: '/api/orders', payload: { name }, headers: { 'idempotency-key': key } })
    const first = await post(before, key)
    for (let n = 0; n < 2; n++) {
      const answer = await post(after, key)
      t.match([answer.statusCode, answer.json().code], [422, 'IdempotencyResultLost'])
      t.equal(answer.headers['idempotency-replayed'], undefined)
      t.notMatch(answer.payload, first.json().data.id)
    }
    t.equal(await orders(name), 1, 'nothing is done twice without being asked for')
    t.equal((await post(after, randomUUID())).statusCode, 201)
    t.strictSame((await post(before, key)).json(), first.json(), 'a process that knows the secret still has the answer')
  },
)

t.test('once() in a route that is not idempotent is a fault', async (t) => {
  const app = await open(t)
  const answer = await app.api.inject({ method: 'POST', url: '/api/orders/plain', payload: {} })
  t.equal(answer.statusCode, 500)
})
