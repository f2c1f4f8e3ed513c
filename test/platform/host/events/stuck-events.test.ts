import { randomUUID } from 'node:crypto'
import pino from 'pino'
import t from 'tap'
import type { Delivery, Message, Transport } from '../../../../src/platform/host/events/delivery.ts'
import { discard, redrive, stuckEvents } from '../../../../src/platform/host/events/stuck-events.ts'
import { Subscriber } from '../../../../src/platform/host/events/subscriber.ts'
import { eventDatabase } from '../../../support/event-database.ts'
import { alpha } from '../../../support/event-host.ts'

const { db, sql } = await eventDatabase(t, 'beta')

const handled: string[] = []
const sent: { to: string; message: Message }[] = []
const transport = {
  send: async (to: string, messages: Message[]) => void sent.push(...messages.map((message) => ({ to, message }))),
} as unknown as Transport
const beta = new Subscriber('beta', {
  db,
  transport,
  log: pino({ level: 'silent' }),
  modules: new Set(['alpha']),
  attempts: 1,
})
beta.on(alpha.events.happened, async ({ key, data }) => {
  if (key === 'poison') throw new Error('never')
  handled.push(`${key} ${(data as { n: number }).n}`)
})
/** The nth event of a key. */
const nth = (n: number, key: string, other: Partial<Delivery> = {}): Delivery => ({
  id: randomUUID(),
  publisher: 'alpha',
  name: 'thing.happened',
  version: 1,
  key,
  sequence: n,
  place: n,
  after: n - 1,
  occurredAt: new Date().toISOString(),
  data: { key, n },
  requestId: null,
  traceparent: null,
  ...other,
})
const stuck = (id?: string) => stuckEvents(db, { limit: 10, id })
const confirmed = async () => {
  await beta.flush()
  return sent.flatMap(({ message }) => (message.kind === 'confirmation' ? message.confirmation.deliveries : []))
}
/** As if the next look at what is parked had come. */
const look = async () => {
  await sql`update inbox set due_at = now() where due_at is not null`
  await beta.sweep()
}

t.test('dead and parked events are told apart, and each says how many wait for it', async (t) => {
  await beta.receive([nth(1, 'poison'), nth(1, 'a', { version: 2 }), nth(2, 'a'), nth(3, 'a')])
  const [dead, parked, ...others] = await stuck()
  t.same(others, [])
  t.match(dead, { state: 'dead', attempts: 1, waiting: 0, delivery: { key: 'poison' } })
  t.equal(dead!.deadAt, dead!.since)
  t.match(parked, { state: 'parked', attempts: 0, waiting: 2, deadAt: null, delivery: { key: 'a', version: 2 } })
  t.match(parked!.errors, [{ message: /no handler for thing\.happened v2/, parked: true }])
  t.ok(Date.now() - Date.parse(parked!.since) < 60_000)
  t.strictSame(await stuck(parked!.delivery.id), [parked])
})

t.test('a parked event that is redriven is looked at now, and stays as it is', async (t) => {
  const [, before] = await stuck()
  t.equal(await redrive(db, before!.delivery.id), 1)
  await beta.sweep()
  const [after] = await stuck(before!.delivery.id)
  t.match(after, { state: 'parked', since: before!.since, attempts: 0, waiting: 2 })
  t.equal(after!.errors.length, 2)
  t.same(handled, [])
})

t.test('a dead event that is redriven is not taken for a parked one', async (t) => {
  const [dead] = await stuck()
  t.equal(await redrive(db, dead!.delivery.id), 1)
  t.strictSame(await stuck(dead!.delivery.id), [])
  await beta.sweep()
  t.match(await stuck(dead!.delivery.id), [{ state: 'dead', attempts: 1 }])
})

t.test('a parked event that is given up makes way, and not before its turn', async (t) => {
  const second = nth(4, 'a', { version: 2 })
  await beta.receive([second])
  const [first] = (await stuck()).filter(({ state }) => state === 'parked')
  await t.rejects(discard(db, second.id), { message: /^An earlier event of the key a comes before/ })
  t.same(await discard(db, first!.delivery.id), first!.delivery)
  await beta.sweep()
  t.same(handled, ['a 2', 'a 3'])
  t.same(await discard(db, second.id), second)
  t.equal(await discard(db, second.id), undefined)
})

t.test('what was given up and is delivered once more is confirmed, and not kept again', async (t) => {
  const given = [
    nth(1, 'newer', { version: 2 }),
    nth(1, 'broken', { data: {} }),
    nth(1, 'unordered', { version: 2, after: null }),
  ]
  await beta.receive(given)
  for (const { id } of given) await discard(db, id)
  await beta.receive(given)
  const isGiven = ({ delivery: { id } }: { delivery: Delivery }) => given.some((one) => one.id === id)
  t.same((await stuck()).filter(isGiven), [])
  const told = (await confirmed()).map(({ id }) => id)
  for (const { id, key } of given) t.ok(told.includes(id), key)
})

t.test('what was kept while it was given up is found at the next look', async (t) => {
  const event = nth(1, 'raced', { version: 2 })
  await beta.receive([event])
  await sql`insert into inbox_keys (publisher, key, last) values ('alpha', 'raced', 1)`
  await look()
  t.same(await stuck(event.id), [])
  t.ok((await confirmed()).some(({ id }) => id === event.id))
})

t.test('no queue is opened for a publisher that is no module', async (t) => {
  beta.confirm(nth(1, 'forged', { publisher: 'nobody' }))
  await beta.flush()
  t.same(new Set(sent.map(({ to }) => to)), new Set(['alpha']))
})
