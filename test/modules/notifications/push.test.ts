import { createPublicKey, verify } from 'node:crypto'
import postgres from 'postgres'
import t from 'tap'
import webPush from 'web-push'
import { pace } from '../../../src/modules/notifications/delivery.ts'
import { refused } from '../../api/client.ts'
import { type Browser, browserAt } from '../../support/browser.ts'
import { type Person, type Scene, scene } from '../../support/bystanders.ts'
import { type Reply, startEndpoint } from '../../support/endpoint.ts'
import { until } from '../../support/until.ts'

Object.assign(pace, { attempts: 4, pause: 0.001, look: 50 })

const service = await startEndpoint()
t.teardown(() => service.close())
const s = await scene(t, { env: { PUSH_PRIVATE_ENDPOINTS: 'true', VAPID_SUBJECT: 'mailto:admin@example.com' } })
const sql = postgres(s.databaseUrl, { max: 2, onnotice: () => {} })
t.teardown(() => sql.end())

const SUBSCRIPTIONS = '/api/push/subscriptions'
const subscribe = (who: Person, { subscription }: Pick<Browser, 'subscription'>, { api }: Scene = s) =>
  api.post(SUBSCRIPTIONS, subscription, who)
const pushes = async (who: Person) => {
  const rows = await sql`select status, attempts, last_error from notifications.outgoing
    where user_id = ${who.id} and channel = 'push' order by created_at`
  return rows.map(({ status, attempts }) => `${status} ${attempts}`)
}
const done = (who: Person) =>
  until('all is sent or failed', async () => {
    const all = await pushes(who)
    return all.length > 0 && !all.some((push) => push.startsWith('queued')) && all
  })

t.test('all browsers of a user show a notification that only they can read', async (t) => {
  const ada = await s.stranger()
  const browsers = [browserAt(service), browserAt(service)]
  for (const browser of browsers) {
    const { status, body } = await subscribe(ada, browser)
    const { endpoint } = browser.subscription
    t.match([status, body.data], [201, { id: /^[0-9a-f-]{36}$/, endpoint, createdAt: /Z$/ }])
  }
  await s.comment(ada, 'Well said.')
  t.strictSame(await done(ada), ['sent 1', 'sent 1'])
  const { body } = await s.api.get('/api/notifications', ada)
  const { id, kind, text } = body.data[0]
  for (const browser of browsers) {
    t.strictSame(browser.shown(), [{ id, kind, text }])
    const { headers } = browser.received()[0]!
    t.match(headers, { ttl: '86400', 'content-encoding': 'aes128gcm', topic: /^[0-9a-f]{32}$/ })
  }
})

t.test('a push service can see by whom a message is signed', async (t) => {
  const ada = await s.stranger()
  const browser = browserAt(service)
  await subscribe(ada, browser)
  await s.comment(ada)
  await done(ada)
  const { publicKey } = (await s.api.get('/api/push/key')).body.data
  const { headers } = browser.received()[0]!
  const [, token = '', key] = /^vapid t=([^,]+), k=(.+)$/.exec(String(headers.authorization)) ?? []
  t.equal(key, publicKey)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  t.match(claims, { aud: service.url, sub: 'mailto:admin@example.com' })
  const point = Buffer.from(publicKey, 'base64url')
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url'))
  const jwk = { kty: 'EC', crv: 'P-256', x, y } as const
  const data = Buffer.from(`${header}.${payload}`)
  const signed = {
    key: createPublicKey({ key: jwk as object, format: 'jwk' } as never),
    dsaEncoding: 'ieee-p1363' as const,
  }
  t.ok(verify('sha256', data, signed, Buffer.from(signature, 'base64url')))
})

t.test('a subscription that the push service does not know any more is removed', async (t) => {
  for (const status of [404, 410]) {
    const ada = await s.stranger()
    const [gone, there] = [browserAt(service), browserAt(service)]
    service.replies(gone.path, status)
    for (const browser of [gone, there]) await subscribe(ada, browser)
    await s.comment(ada)
    t.strictSame((await done(ada)).sort(), ['failed 1', 'sent 1'])
    await s.comment(ada)
    await until('the second', () => there.received().length === 2)
    t.equal(gone.received().length, 1, `nothing more after ${status}`)
    t.equal((await pushes(ada)).length, 3)
  }
})

t.test('a push service that fails for now is asked again; one that refuses a message is not', async (t) => {
  const cases: [Reply[], string][] = [
    [[500, 429, 'drop'], 'sent 4'],
    [[413], 'failed 1'],
    [[500, 500, 500, 500], 'failed 4'],
  ]
  for (const [replies, outcome] of cases) {
    const ada = await s.stranger()
    const browser = browserAt(service)
    service.replies(browser.path, ...replies)
    await subscribe(ada, browser)
    await s.comment(ada)
    t.strictSame(await done(ada), [outcome])
    const topics = browser.received().map(({ headers }) => headers.topic)
    t.equal(new Set(topics).size, 1, 'each time under the same topic')
    t.equal(topics.length, Number(outcome.split(' ')[1]))
  }
})

t.test('the same endpoint again is the same subscription, with the keys of the last time', async (t) => {
  const ada = await s.stranger()
  const [one, other] = [browserAt(service), browserAt(service)]
  const first = await subscribe(ada, one)
  const keys = other.subscription.keys
  const again = await subscribe(ada, { subscription: { ...one.subscription, keys } })
  t.strictSame([again.status, again.body], [201, first.body])
  const [row] =
    await sql`select count(*)::int, max(auth) as auth from notifications.subscriptions where user_id = ${ada.id}`
  t.strictSame(row, { count: 1, auth: keys.auth })
  const eve = await s.stranger()
  await subscribe(eve, one)
  await s.comment(ada)
  await s.comment(eve)
  await done(eve)
  t.equal(one.received().length, 1, 'who signs in at the same browser gets it')
})

t.test('what waits for a user does not reach whoever uses the browser now', async (t) => {
  const [ada, eve] = [await s.stranger(), await s.stranger()]
  const browser = browserAt(service)
  const { id } = (await subscribe(ada, browser)).body.data
  await subscribe(eve, browser)
  await sql`
    insert into notifications.outgoing (id, channel, user_id, "to", text)
    values (gen_random_uuid(), 'push', ${ada.id}, ${id}, 'For Ada.')`
  t.strictSame(await done(ada), ['failed 1'])
  t.equal(browser.received().length, 0)
})

t.test('a user has twenty subscriptions at most', async (t) => {
  const ada = await s.stranger()
  const browsers = Array.from({ length: 22 }, () => browserAt(service))
  const answers = await Promise.all(browsers.map((browser) => subscribe(ada, browser)))
  t.strictSame(answers.map(({ status }) => status).sort(), [...Array(20).fill(201), 409, 409])
  const full = answers.find(({ status }) => status === 409)!
  const refusal = { status: 409, code: 'TooManySubscriptions', module: 'notifications', path: SUBSCRIPTIONS }
  refused(t, full, refusal)
  const known = answers.findIndex(({ status }) => status === 201)
  t.equal((await subscribe(ada, browsers[known]!)).status, 201, 'one that is there may come again')
})

t.test('a subscription ends when its user wants it, and nobody else', async (t) => {
  const [ada, eve] = [await s.stranger(), await s.stranger(['admin'])]
  const browser = browserAt(service)
  const { id } = (await subscribe(ada, browser)).body.data
  const path = `${SUBSCRIPTIONS}/${id}`
  refused(t, await s.api.send('DELETE', path, eve), { status: 403, code: 'Forbidden', module: 'seam', path })
  t.equal((await s.api.send('DELETE', path, ada)).status, 204)
  const missing = { status: 404, code: 'SubscriptionNotFound', module: 'notifications', path }
  refused(t, await s.api.send('DELETE', path, ada), missing)
})

t.test('with the account go its subscriptions and what was to be sent to them', async (t) => {
  const ada = await s.stranger()
  const browser = browserAt(service)
  service.replies(browser.path, ...Array(4).fill(500))
  await subscribe(ada, browser)
  await s.comment(ada)
  await s.publish('userDeleted', { userId: ada.id })
  await until('the deletion', async () => {
    const rows = await sql`select 1 from notifications.subscriptions where user_id = ${ada.id}`
    return rows.length === 0
  })
  t.strictSame(await pushes(ada), [])
  refused(t, await subscribe(ada, browser), {
    status: 409,
    code: 'RecipientUnknown',
    module: 'notifications',
    path: SUBSCRIPTIONS,
  })
})

t.test('what is no subscription is refused, with all that is wrong with it', async (t) => {
  const ada = await s.stranger()
  const { subscription } = browserAt(service)
  const { endpoint, keys } = subscription
  const zeros = Buffer.concat([Buffer.from([4]), Buffer.alloc(64)]).toString('base64url')
  const bad: [object, ...string[]][] = [
    [{}, '/body/endpoint', '/body/keys'],
    [{ endpoint, keys: {} }, '/body/keys/p256dh', '/body/keys/auth'],
    [{ endpoint, keys: { ...keys, auth: 'short' } }, '/body/keys/auth'],
    [{ endpoint, keys: { ...keys, p256dh: keys.auth } }, '/body/keys/p256dh'],
    [{ endpoint, keys: { ...keys, p256dh: zeros } }, '/body/keys/p256dh'],
    [{ endpoint: 'ftp://push.example.com/', keys }, '/body/endpoint'],
    [{ endpoint: 'https://user@push.example.com/', keys }, '/body/endpoint'],
    [{ endpoint: `https://push.example.com/${'x'.repeat(2000)}`, keys }, '/body/endpoint'],
    [{ endpoint: 'https://[::1', keys }, '/body/endpoint'],
    [{ ...subscription, expirationTime: 'never' }, '/body/expirationTime'],
    [{ ...subscription, applicationServerKey: 'x' }, '/body/applicationServerKey'],
  ]
  for (const [json, ...paths] of bad) {
    const answer = await s.api.post(SUBSCRIPTIONS, json, ada)
    t.equal(answer.status, 400, JSON.stringify(json).slice(0, 100))
    const found = answer.body.errors.map(({ path }: { path: string }) => path)
    for (const path of paths) t.ok(found.includes(path), `${path} in ${found}`)
  }
})

t.test(
  'keys of the environment are used, and endpoints are public addresses by https, where nothing else is said',
  async (t) => {
    const keys = webPush.generateVAPIDKeys()
    const other = await scene(t, { env: { VAPID_PUBLIC_KEY: keys.publicKey, VAPID_PRIVATE_KEY: keys.privateKey } })
    t.strictSame((await other.api.get('/api/push/key')).body, { data: { publicKey: keys.publicKey } })
    const ada = await other.stranger()
    const { subscription } = browserAt(service)
    const refusedOnes = [
      subscription.endpoint,
      'http://push.example.com/1',
      'https://127.0.0.1/1',
      'https://2130706433/1',
      'https://0x7f.1/1',
      'https://localhost/1',
      'https://a.localhost/1',
      'https://[::1]/1',
      'https://[::ffff:127.0.0.1]/1',
      'https://[fd00::1]/1',
      'https://[fe80::1]/1',
      'https://[2002:7f00:1::]/1',
      'https://[64:ff9b::7f00:1]/1',
      'https://10.1.2.3/1',
      'https://172.31.0.1/1',
      'https://192.168.0.1/1',
      'https://169.254.169.254/latest/meta-data',
      'https://100.64.0.1/1',
      'https://0.0.0.0/1',
      'https://224.0.0.1/1',
      'https://255.255.255.255/1',
    ]
    for (const endpoint of refusedOnes) {
      const answer = await subscribe(ada, { subscription: { ...subscription, endpoint } }, other)
      t.match([answer.status, answer.body.errors?.[0]?.path], [400, '/body/endpoint'], endpoint)
    }
    for (const endpoint of ['https://push.example.com/1', 'https://1.1.1.1/1', 'https://[2606:4700::1111]/1']) {
      t.equal((await subscribe(ada, { subscription: { ...subscription, endpoint } }, other)).status, 201, endpoint)
    }
  },
)

t.test('keys that are made are kept, and half a pair stops the boot', async (t) => {
  const { publicKey } = (await s.api.get('/api/push/key')).body.data
  t.match(publicKey, /^B[\w-]{86}$/)
  const keys = webPush.generateVAPIDKeys()
  for (const env of [
    { VAPID_PUBLIC_KEY: keys.publicKey },
    { VAPID_PRIVATE_KEY: keys.privateKey },
    { VAPID_PUBLIC_KEY: publicKey, VAPID_PRIVATE_KEY: keys.privateKey },
  ] as Record<string, string>[])
    await t.rejects(scene(t, { env }), /VAPID_PUBLIC_KEY and VAPID_PRIVATE_KEY must be a pair/)
})
