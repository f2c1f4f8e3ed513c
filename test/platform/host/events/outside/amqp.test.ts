import type { ConsumeMessage } from 'amqplib'
import pino from 'pino'
import postgres from 'postgres'
import { Registry } from 'prom-client'
import t from 'tap'
import { exposeEvents } from '../../../../../src/platform/host/events/event-metrics.ts'
import { amqpExchange, EXCHANGE } from '../../../../../src/platform/host/events/outside/amqp-exchange.ts'
import { defineExternal } from '../../../../../src/platform/kit/external.ts'
import { eventHost, eventMigrations, happened } from '../../../../support/event-host.ts'
import { rabbitmq } from '../../../../support/rabbitmq.ts'
import { freshState } from '../../../../support/topology.ts'
import { until } from '../../../../support/until.ts'

t.setTimeout(580_000)
const QUEUE = 'somebody.things'
const SUBSCRIBER = 'amqp:seam.events'

const [migrations, state, broker] = await Promise.all([eventMigrations(), freshState('postgres'), rabbitmq()])
const sql = postgres(state.env.DATABASE_URL!, { max: 2, onnotice: () => {} })
let lines = ''
const log = pino({ level: 'trace' }, { write: (line) => void (lines += line) })
const billing = defineExternal('billing', {
  queue: QUEUE,
  events: { happened: { ...happened, name: 'invoice.paid' }, undone: { ...happened, name: 'invoice.undone' } },
})
const host = await eventHost({
  env: state.env,
  migrations: migrations.folder,
  log,
  outside: [amqpExchange(broker.url, log)],
  external: { events: Object.values(billing.events), amqpUrl: broker.url },
})
t.teardown(async () => {
  await host.close()
  await broker.close()
  await sql.end()
  await state.close()
  await migrations.remove()
})

/** What somebody else's program does with the broker, on a connection of its own. */
async function elsewhere<T>(
  work: (channel: Awaited<ReturnType<typeof connectElsewhere>>['channel']) => Promise<T>,
): Promise<T> {
  const { connection, channel } = await connectElsewhere()
  return await work(channel).finally(() => connection.close())
}
async function connectElsewhere() {
  const connection = await broker.connect()
  return { connection, channel: await connection.createConfirmChannel() }
}

const seen = new Set<unknown>()
/**
 * Takes the messages that are in a queue, once there are so many. One that was taken before does not count: a broker that
 * is killed forgets that.
 */
const received = (count: number) =>
  elsewhere(async (channel) => {
    const messages: ConsumeMessage[] = []
    const take = (message: ConsumeMessage | null) => {
      if (!message || seen.has(message.properties.messageId)) return
      seen.add(message.properties.messageId)
      messages.push(message)
    }
    await channel.consume('inspection', take, { noAck: true })
    await until(`${count} messages`, () => messages.length >= count)
    return messages.map(({ fields, properties, content }) => ({
      fields,
      properties,
      data: JSON.parse(content.toString()),
    }))
  })
const confirmed = (subscriber: string, count: number) =>
  until(`${count} confirmed by ${subscriber}`, async () => {
    const [row] = await sql`
      select count(confirmed_at)::int as count from alpha.outbox_deliveries where subscriber = ${subscriber}`
    return row!.count === count
  })
const orders = (messages: { data: { key: string; n: number } }[], key: string) =>
  messages.filter(({ data }) => data.key === key).map(({ data }) => data.n)

t.test(
  'events wait for a broker that is gone, while modules get theirs, and are handed over when it comes',
  async (t) => {
    await broker.start()
    await elsewhere(async (channel) => {
      await channel.assertExchange(EXCHANGE, 'topic', { durable: true })
      await channel.assertQueue('inspection', { durable: true })
      await channel.bindQueue('inspection', EXCHANGE, 'alpha.thing.*')
    })
    await host.start()
    await host.publish('a', 0)
    const [first] = await received(1)
    t.match(first, {
      fields: { exchange: 'seam.events', routingKey: 'alpha.thing.happened' },
      properties: {
        deliveryMode: 2,
        contentType: 'application/json',
        type: 'thing.happened',
        messageId: /^[0-9a-f-]{36}$/,
      },
      data: { key: 'a', n: 0 },
    })
    const { headers, messageId } = first!.properties
    t.match(headers, {
      'cloudEvents:specversion': '1.0',
      'cloudEvents:id': messageId,
      'cloudEvents:source': '/seam/alpha',
      'cloudEvents:type': 'thing.happened',
      'cloudEvents:subject': 'a',
      'cloudEvents:time': /^\d{4}-\d\d-\d\dT.*Z$/,
      'cloudEvents:dataschema': 'urn:seam:alpha:thing.happened:1',
    })
    await confirmed(SUBSCRIBER, 1)

    await broker.signal('SIGKILL')
    for (let n = 1; n <= 20; n++) await host.publish(n % 2 ? 'a' : 'b', n)
    await confirmed('beta', 21)
    const [waiting] = await sql`
    select count(*)::int as count from alpha.outbox_deliveries where subscriber = ${SUBSCRIBER} and confirmed_at is null`
    t.equal(waiting!.count, 20)
    const registry = new Registry()
    exposeEvents(registry, [host.eventsOf('alpha')])
    t.match(await registry.metrics(), /seam_events_unconfirmed\{module="alpha",subscriber="amqp:seam.events"\} 20\n/)

    await broker.start()
    const messages = await received(20)
    await confirmed(SUBSCRIBER, 21)
    t.same(orders(messages, 'a'), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
    t.same(orders(messages, 'b'), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20])
    t.match(
      await registry.metrics(),
      /seam_events_handled_total\{module="amqp:seam.events",event="thing.happened"\} 21\n/,
    )
  },
)

t.test('a broker that hangs holds up nobody else, and a queue that is purged gets what comes next', async (t) => {
  await broker.signal('SIGSTOP')
  await host.publish('c', 1)
  await confirmed('beta', 22)
  const [row] =
    await sql`select confirmed_at from alpha.outbox_deliveries where subscriber = ${SUBSCRIBER} order by event_id desc limit 1`
  t.equal(row!.confirmed_at, null)
  await broker.signal('SIGCONT')
  await confirmed(SUBSCRIBER, 22)
  await elsewhere((channel) => channel.purgeQueue('inspection'))
  await host.publish('c', 2)
  t.same(orders(await received(1), 'c'), [2])
})

t.test('a message of a queue that comes twice has one effect, and garbage is kept and never comes again', async (t) => {
  const dead = host.handledEventsOf('beta')
  await elsewhere(async (channel) => {
    await channel.assertQueue(QUEUE, { durable: true })
    const send = (content: string | Buffer, properties: object) =>
      channel.sendToQueue(QUEUE, Buffer.from(content as string), { persistent: true, ...properties })
    const good = (n: number) => JSON.stringify({ key: 'invoice', n })
    const binary = { 'cloudEvents:id': 'i-2', 'cloudEvents:type': 'invoice.paid', 'cloudEvents:source': '/billing' }
    for (let time = 0; time < 2; time++) {
      send(good(1), { messageId: 'i-1', type: 'invoice.paid' })
      send(good(2), { headers: binary })
      const whole = {
        specversion: '1.0',
        id: 'i-3',
        type: 'invoice.paid',
        source: '/billing',
        data: { key: 'x', n: 3 },
      }
      send(JSON.stringify(whole), { contentType: 'application/cloudevents+json; charset=utf-8' })
    }
    send('no JSON', { messageId: 'g-1', type: 'invoice.paid' })
    send(Buffer.from([0xff, 0, 0xfe]), { messageId: 'g-2', type: 'invoice.paid' })
    send('{"key":"\\u0000","n":1}', { messageId: 'g-3', type: 'invoice.paid' })
    send(good(4), { type: 'invoice.paid' })
    send(good(5), { messageId: 'g-5', type: 'invoice.lost' })
    send('{"key":"invoice","n":"six"}', { messageId: 'g-6', type: 'invoice.paid' })
    send(JSON.stringify({ key: 'k'.repeat(5000), n: 7 }), { messageId: 'g-7', type: 'invoice.paid' })
    await channel.waitForConfirms()
  })
  const kept = await until('the garbage', async () => {
    const kept = await dead.stuckEvents({ limit: 100 })
    return kept.length >= 7 && kept
  })
  const words = kept.map(({ errors }) => errors[0]!.message).sort()
  t.match(words, [
    /^It has characters that cannot be kept/,
    /^It has no id/,
    /^It is not JSON/,
    /^It is not JSON/,
    /^Its key is too long/,
    /no handler for invoice\.lost/,
    /^invoice\.paid v1 is not what its contract says: \/n/,
  ])
  t.ok(kept.some(({ delivery }) => (delivery.data as { unreadable?: string }).unreadable === 'no JSON'))
  await until(
    'three effects',
    async () =>
      (
        await sql`select from beta.effects where n in (1, 2, 3) and sequence = 1
    and (key <> 'a' and key <> 'b' and key <> 'c')`
      ).length >= 3,
  )

  t.equal(await dead.redrive(), 7)
  await until('they are dead again', async () => (await dead.stuckEvents({ limit: 100 })).length === 7)
  t.equal(await dead.discard(kept[0]!.delivery.id), true)
  t.equal((await dead.stuckEvents({ limit: 100 })).length, 6)
  await host.close()
  const { messageCount } = await elsewhere((channel) => channel.checkQueue(QUEUE))
  t.equal(messageCount, 0, 'nothing is left, or comes back')
  const effects = await sql`select event_id from beta.effects where key not in ('a', 'b', 'c')`
  t.equal(effects.length, 3, 'one each')
  t.notMatch(lines, /guest/, 'no password in the log')
})
