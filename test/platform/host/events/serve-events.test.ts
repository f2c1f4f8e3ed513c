import { Registry } from 'prom-client'
import t from 'tap'
import { serveEvents } from '../../../../src/platform/host/events/serve-events.ts'
import { createOpsServer } from '../../../../src/platform/host/ops/server.ts'
import { eventHost, eventMigrations, writeEffect } from '../../../support/event-host.ts'
import { freshState } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

const migrations = await eventMigrations()
const state = await freshState('postgres')
let broken = true
const host = await eventHost({
  env: state.env,
  migrations: migrations.folder,
  attempts: 1,
  effects: {
    beta: async (event, handling) => {
      if (broken && event.data.n < 0) throw new Error('the shelf is full')
      await writeEffect(event, handling)
    },
  },
})
await host.start()
const ops = createOpsServer({ registry: new Registry(), readiness: { ready: true } })
serveEvents(
  ops,
  ['beta', 'gamma'].map((name) => host.handledEventsOf(name)),
)
t.teardown(async () => {
  await ops.close()
  await host.close()
  await state.close()
  await migrations.remove()
})

type Method = 'GET' | 'POST' | 'DELETE'
const ask = async (method: Method, url: string, headers: Record<string, string> = {}) => {
  const { statusCode, json, headers: got } = await ops.inject({ method, url, headers })
  return { status: statusCode, body: json(), type: String(got['content-type']) }
}
const stuck = async (count: number) =>
  until(`${count} stuck events`, async () => {
    const { data } = (await ask('GET', '/events')).body
    return data.length === count && data
  })
const effects = async () =>
  (await host.module('beta').db.execute('select n from effects order by at')).map(({ n }) => n)

t.test('what is dead is listed, shown, tried again and given up', async (t) => {
  t.match(await ask('GET', '/events'), { status: 200, body: { data: [] } })
  for (const [key, n] of [
    ['a', -1],
    ['b', -2],
    ['c', -3],
    ['d', -4],
  ] as const)
    await host.publish(key, n)
  const listed = await stuck(4)
  const idOf = (n: number) =>
    listed.find((event: { delivery: { data: { n: number } } }) => event.delivery.data.n === n).delivery.id
  t.match(await ask('GET', `/events/${idOf(-1)}`), {
    status: 200,
    body: { data: [{ module: 'beta', state: 'dead', attempts: 1, errors: [{ message: 'the shelf is full' }] }] },
  })
  t.match(await ask('GET', '/events?module=gamma'), { body: { data: [] } })
  t.match(await ask('DELETE', `/events/${idOf(-2)}`), { status: 200, body: { discarded: 1 } })
  broken = false
  t.match(await ask('POST', `/events/${idOf(-1)}/redrive`), { status: 200, body: { redriven: 1 } })
  await until('its effect', async () => (await effects()).includes(-1))
  t.match(await ask('POST', '/events/redrive'), { status: 200, body: { redriven: 2 } })
  await until('all effects', async () => (await effects()).length === 3)
  t.notOk((await effects()).includes(-2))
  t.match(await ask('GET', '/events'), { body: { data: [] } })
})

t.test('what is parked is listed beside it, and can be given up', async (t) => {
  await host.module('alpha').db.execute(`
    with made as (
      insert into outbox (id, name, version, key, sequence, data)
      values (uuidv7(), 'thing.happened', 2, 'newer', 1, '{}') returning id)
    insert into outbox_deliveries (event_id, subscriber, place, after) select id, 'beta', 1, 0 from made`)
  const [event] = await stuck(1)
  t.match(event, { module: 'beta', state: 'parked', deadAt: null, delivery: { version: 2 } })
  const { id } = event.delivery
  t.match(await ask('POST', `/events/${id}/redrive`), { status: 200, body: { redriven: 1 } })
  t.match(await ask('GET', `/events/${id}`), { status: 200, body: { data: [{ state: 'parked' }] } })
  t.match(await ask('DELETE', `/events/${id}`), { status: 200, body: { discarded: 1 } })
  t.match(await ask('GET', `/events/${id}`), { status: 404 })
})

t.test('what cannot be done is a problem', async (t) => {
  const unknown = '/events/01900000-0000-7000-8000-000000000000'
  const cases: [Method, string, number][] = [
    ['GET', unknown, 404],
    ['DELETE', unknown, 404],
    ['POST', `${unknown}/redrive`, 404],
    ['GET', '/events/x', 400],
    ['GET', '/events?module=x', 400],
  ]
  for (const [method, url, status] of cases)
    t.match(
      await ask(method, url),
      { status, type: /^application\/problem\+json/, body: { status } },
      `${method} ${url}`,
    )
})

t.test('a page that an operator looks at can do nothing', async (t) => {
  broken = true
  await host.publish('e', -5)
  const [event] = await stuck(1)
  for (const headers of [
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'same-origin' },
    { origin: 'https://evil.example' },
  ])
    for (const [method, url] of [
      ['GET', '/events'],
      ['POST', '/events/redrive'],
      ['DELETE', `/events/${event.delivery.id}`],
    ] as const)
      t.match(
        await ask(method, url, headers as Record<string, string>),
        { status: 403 },
        `${method} ${JSON.stringify(headers)}`,
      )
  t.equal((await stuck(1))[0].attempts, 1)
  t.match(await ask('GET', '/events', { 'sec-fetch-site': 'none' }), { status: 200 }, 'an address that was typed')
})
