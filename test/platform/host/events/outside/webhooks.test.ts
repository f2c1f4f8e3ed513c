import pino from 'pino'
import postgres from 'postgres'
import { Registry } from 'prom-client'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { openModuleDatabase } from '../../../../../src/platform/host/data/databases.ts'
import { exposeEvents } from '../../../../../src/platform/host/events/event-metrics.ts'
import { eventsTask } from '../../../../../src/platform/host/events/events-task.ts'
import { replay } from '../../../../../src/platform/host/events/history.ts'
import { confirm } from '../../../../../src/platform/host/events/outbox.ts'
import { deadDeliveries } from '../../../../../src/platform/host/events/outside/dead-deliveries.ts'
import { notAccepted, takeDueTo } from '../../../../../src/platform/host/events/outside/handing-over.ts'
import { OutsideRelay } from '../../../../../src/platform/host/events/outside/outside-relay.ts'
import { webhook } from '../../../../../src/platform/host/events/outside/webhook.ts'
import { readWebhooks } from '../../../../../src/platform/host/events/outside/webhook-rules.ts'
import { sequence } from '../../../../../src/platform/host/events/sequence.ts'
import { startEndpoint } from '../../../../support/endpoint.ts'
import { eventHost, eventMigrations } from '../../../../support/event-host.ts'
import { freshState } from '../../../../support/topology.ts'
import { until } from '../../../../support/until.ts'

const SECRET = `whsec_${Buffer.from('a secret of 24 bytes, ok').toString('base64')}`
const [migrations, state, endpoint] = await Promise.all([eventMigrations(), freshState('postgres'), startEndpoint()])
const sql = postgres(state.env.DATABASE_URL!, { max: 2, onnotice: () => {} })
const to = (name: string, pauses: number[], events = ['*']) =>
  webhook({ name, url: `${endpoint.url}/${name}`, events, secret: SECRET }, pauses)
const host = await eventHost({
  env: state.env,
  migrations: migrations.folder,
  log: pino({ level: 'silent' }),
  outside: [to('good', [60]), to('bad', [0.01, 0.01]), to('other', [60], ['user.*', 'thing'])],
})
await host.start()
t.teardown(async () => {
  // First, so that nobody waits for the answer that never comes.
  await endpoint.close()
  await host.close()
  await sql.end()
  await state.close()
  await migrations.remove()
})

const requests = (name: string) => endpoint.received.filter(({ path }) => path === `/${name}`)
const numbers = (name: string) => requests(name).map(({ body }) => JSON.parse(body.toString()).data.n)
const deliveries = (name: string) => sql`
  select *, due_at - now() > interval '1 hour' as is_far from alpha.outbox_deliveries where subscriber = ${`webhook:${name}`}
  order by event_id`
const confirmed = (name: string, count: number) =>
  until(`${count} at ${name}`, async () => (await deliveries(name)).filter((row) => row.confirmed_at).length === count)
/** Publishes to nobody else. */
const publishTo = (subscriber: string, data: { key: string; n: number }) =>
  sql.begin(async (tx) => {
    await tx`set local search_path = alpha`
    await tx`
      insert into outbox_new (id, name, version, key, data, subscribers)
      values (uuidv7(), 'thing.happened', 1, ${data.key}, ${tx.json(data)}, ${tx.json([{ name: subscriber }])})`
    await sequence(tx as unknown as postgres.Sql, 'alpha', { limit: 1, seconds: 60 })
  })

t.test('an event is posted as a CloudEvent, signed by Standard Webhooks, to those who want it', async (t) => {
  await host.publish('k', 1)
  await confirmed('good', 1)
  const [request] = requests('good')
  const { headers, body } = request!
  t.equal(headers['content-type'], 'application/cloudevents+json; charset=utf-8')
  const payload = new Webhook(SECRET).verify(body.toString(), headers as Record<string, string>)
  t.match(payload, {
    specversion: '1.0',
    id: headers['webhook-id'],
    type: 'thing.happened',
    source: '/seam/alpha',
    subject: 'k',
    data: { key: 'k', n: 1 },
  })
  t.throws(
    () => new Webhook(SECRET).verify(`${body} `, headers as Record<string, string>),
    'another body has another one',
  )
  t.same(await deliveries('other'), [], 'whose filter does not name it')
})

t.test('what is refused is tried again in order of its key, and is dead when attempts end; others go on', async (t) => {
  await confirmed('bad', 1)
  const task = eventsTask([host.handledEventsOf('beta'), host.deadDeliveries('webhook:bad')])
  endpoint.replies(
    '/bad',
    500,
    { status: 302, headers: { location: `${endpoint.url}/elsewhere` } },
    { status: 400, bytes: 1e6 },
  )
  await host.publish('k', 2)
  await host.publish('k', 3)
  const listed = await until('a dead one', async () => {
    const text = await task.run(['list'])
    return text.includes('thing.happened') && text
  })
  t.match(listed, /thing\.happened v1 at webhook:bad, dead since/)
  t.match(listed, /3 attempts; 1 later events wait; The endpoint answered 400/)
  await confirmed('good', 3)
  t.same(numbers('good'), [1, 2, 3])
  t.same(numbers('bad'), [1, 2, 2, 2], 'the next of its key waits')
  t.same(requests('elsewhere'), [], 'redirects are not followed')
  await host.publish('other', 4)
  await confirmed('bad', 2)
  const registry = new Registry()
  exposeEvents(registry, [host.eventsOf('alpha')])
  t.match(await registry.metrics(), /seam_events_dead\{module="webhook:bad"\} 1\n/)

  const id = /^[0-9a-f-]{36}/.exec(listed)![0]
  t.match(JSON.parse(await task.run(['show', id])).errors, [{ message: /400/ }, { message: /302/ }, { message: /500/ }])
  t.match(await task.run(['redrive', id]), /is tried again/)
  await confirmed('bad', 4)
  t.same(numbers('bad'), [1, 2, 2, 2, 4, 2, 3])
  t.equal(await task.run(['list']), 'No event is dead or parked.')
})

t.test('one that is given up makes way for the next of its key', async (t) => {
  endpoint.replies('/bad', 500, 'drop', 500)
  await host.publish('k', 5)
  await host.publish('k', 6)
  const dead = host.deadDeliveries('webhook:bad')
  const [event] = await until('a dead one', async () => {
    const all = await dead.stuckEvents({ limit: 10 })
    return all.length > 0 && all
  })
  t.equal(await dead.discard(event!.delivery.id), true)
  await confirmed('bad', 6)
  t.equal(numbers('bad').at(-1), 6)
})

t.test('an endpoint says by Retry-After when it is asked again', async (t) => {
  endpoint.replies('/good', { status: 503, headers: { 'retry-after': '7200' } })
  await host.publish('later', 7)
  const row = await until('its failure', async () => (await deliveries('good')).find(({ errors }) => errors))
  t.match(row, { attempts: 1, is_far: true, dead_at: null })
})

t.test('what was published since a moment is posted again, under its own id', async (t) => {
  const task = eventsTask([host.handledEventsOf('alpha')])
  const before = requests('good').length
  const replay = (to: string) => task.run(['replay', '--to', to, '--since', '2026-01-01'])
  t.equal(await replay('webhook:good'), '7 events are replayed to "webhook:good".')
  await until('all but the one that waits for its first time', () => requests('good').length === before + 6)
  const again = requests('good')[before]!
  t.equal(again.headers['webhook-id'], requests('good')[0]!.headers['webhook-id'])
  await confirmed('good', 12)
  const refusal = 'subscribes to no event of the modules here (MODULES, EVENTS_WEBHOOKS, EVENTS_AMQP_URL).'
  for (const to of ['webhook:other', 'amqp:seam.events']) await t.rejects(replay(to), { message: `"${to}" ${refusal}` })
})

t.test('after a replay, too, the next of a key waits for one that was not accepted', async (t) => {
  const { db, sql: alphaSql, close } = openModuleDatabase('alpha', state.env.DATABASE_URL!)
  t.teardown(close)
  const subscriber = 'webhook:replayed'
  const publishOne = (n: number) => publishTo(subscriber, { key: 'replayed', n })
  const take = () => takeDueTo(alphaSql, { module: 'alpha', subscriber, limit: 100, seconds: 60 })
  const nothing = { at: new Date().toISOString(), message: '', stack: '' }
  await publishOne(1)
  const [first] = await take()
  await notAccepted(alphaSql, subscriber, first!.event, { kind: 'dead', failure: nothing })
  await replay({ db, sql: alphaSql }, 'alpha', [{ event: 'thing.happened', subscriber: { name: subscriber } }], 0)
  await publishOne(2)
  const others = (await take()).map(({ event }) => event)
  t.ok(others.length > 1)
  t.notOk(
    others.some(({ key }) => key === 'replayed'),
    'neither once more, nor what is new',
  )
  await confirm(alphaSql, subscriber, others)
  await deadDeliveries(alphaSql, 'alpha', subscriber).discard(first!.event.id)
  const last = await take()
  t.same(
    last.map(({ event }) => event.sequence),
    [1, 3],
  )
})

t.test('of a dead event is counted what waits for it, also after a replay', async (t) => {
  const { db, sql: alphaSql, close } = openModuleDatabase('alpha', state.env.DATABASE_URL!)
  t.teardown(close)
  const subscriber = 'webhook:counted'
  const dead = deadDeliveries(alphaSql, 'alpha', subscriber)
  const waiting = async () => (await dead.stuckEvents({ limit: 1 })).map(({ waiting }) => waiting)
  const isDead = (place: number) => sql`
    update alpha.outbox_deliveries set dead_at = now() where subscriber = ${subscriber} and place = ${place}
      and event_id in (select id from alpha.outbox where key = 'counted')`
  for (const n of [1, 2]) await publishTo(subscriber, { key: 'counted', n })
  await isDead(1)
  t.same(await waiting(), [1])
  await replay({ db, sql: alphaSql }, 'alpha', [{ event: 'thing.happened', subscriber: { name: subscriber } }], 0)
  await publishTo(subscriber, { key: 'counted', n: 3 })
  t.same(await waiting(), [4], 'the next one, both once more, and what is new')
  const [first] = await dead.stuckEvents({ limit: 1 })
  await dead.discard(first!.delivery.id)
  await isDead(3)
  t.match(await dead.stuckEvents({ limit: 1 }), [{ delivery: { place: 3, sequence: 1 }, waiting: 0 }])
})

t.test('what is redriven is what is dead, not what was replayed of it', async (t) => {
  const { db, sql: alphaSql, close } = openModuleDatabase('alpha', state.env.DATABASE_URL!)
  t.teardown(close)
  const subscriber = 'webhook:redriven'
  await publishTo(subscriber, { key: 'redriven', n: 1 })
  const [row] = await sql`
    update alpha.outbox_deliveries set dead_at = now(), attempts = 1 where subscriber = ${subscriber} returning event_id`
  const id = row!.event_id
  await replay({ db, sql: alphaSql }, 'alpha', [{ event: 'thing.happened', subscriber: { name: subscriber } }], 0)
  const replayed = () =>
    sql`select * from alpha.outbox_deliveries where event_id = ${id} and place = 2 and subscriber = ${subscriber}`
  await sql`
    update alpha.outbox_deliveries set attempts = 1, due_at = now() + interval '1 hour'
    where event_id = ${id} and place = 2 and subscriber = ${subscriber}`
  const before = await replayed()
  t.equal(before.length, 1)
  t.equal(await deadDeliveries(alphaSql, 'alpha', subscriber).redrive(id), 1)
  t.same(await replayed(), before)
})

t.test('an endpoint that does not answer holds up nobody else', async (t) => {
  endpoint.replies('/bad', 'silence')
  await host.publish('silent', 8)
  await confirmed('good', 13)
  t.equal((await deliveries('bad')).at(-1)!.confirmed_at, null)
})

t.test('a process that ends uses up no attempt, neither of what it cuts off nor of what waits', async (t) => {
  const { sql: alphaSql, close } = openModuleDatabase('alpha', state.env.DATABASE_URL!)
  t.teardown(close)
  const ending = to('ending', [])
  endpoint.replies('/ending', ...Array.from({ length: ending.concurrency }, () => 'silence' as const))
  for (let n = 0; n <= ending.concurrency; n++) await publishTo(ending.name, { key: `ending${n}`, n })
  const relay = new OutsideRelay('alpha', ending, { db: alphaSql, log: pino({ level: 'silent' }) })
  relay.sweep.start()
  await until('all that it hands over at a time', () => requests('ending').length === ending.concurrency)
  await ending.close()
  await relay.sweep.stop()
  const rows = await deliveries('ending')
  t.equal(rows.length, ending.concurrency + 1)
  for (const row of rows) t.match(row, { attempts: 0, dead_at: null, errors: null, is_far: false })
})

t.test('EVENTS_WEBHOOKS is checked, and what is wrong is said without its values', async (t) => {
  const rule = { name: 'crm', url: 'https://crm.example.com/in', secret: SECRET }
  t.same(readWebhooks(JSON.stringify([rule])), { webhooks: [{ ...rule, events: ['*'] }] })
  for (const [text, fault] of [
    ['x', /no JSON/],
    ['{}', /no list/],
    [JSON.stringify([{ ...rule, secret: 'hunter2' }]), /\/0\/secret/],
    [JSON.stringify([{ ...rule, url: 'ftp://hunter2' }]), /\/0\/url/],
    [JSON.stringify([{ ...rule, events: [] }]), /\/0\/events/],
    [JSON.stringify([{ ...rule, more: 1 }]), /more/],
    [JSON.stringify([rule, rule]), /same name/],
  ] as const) {
    const { webhooks, fault: said } = readWebhooks(text)
    t.same(webhooks, [])
    t.match(said, fault)
    t.notMatch(said, /hunter2/)
  }
})
