import { Registry } from 'prom-client'
import t from 'tap'
import { exposeEvents } from '../../../../src/platform/host/events/event-metrics.ts'
import { eventHost, eventMigrations, writeEffect } from '../../../support/event-host.ts'
import { freshState } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

const migrations = await eventMigrations()
const state = await freshState('postgres')
const host = await eventHost({
  env: state.env,
  migrations: migrations.folder,
  attempts: 1,
  // Nobody hosts gamma, so nobody confirms for it.
  hosted: ['alpha', 'beta'],
  effects: {
    beta: async (event, handling) => {
      if (event.data.n < 0) throw new Error('never')
      await writeEffect(event, handling)
    },
  },
})
await host.start()
t.teardown(async () => {
  await host.close()
  await state.close()
  await migrations.remove()
})

const registry = new Registry()
exposeEvents(registry, [host.eventsOf('alpha'), host.eventsOf('beta')])
const value = async (name: string, labels: string) => {
  const text = await registry.metrics()
  const line = text.split('\n').find((line) => line.startsWith(`${name}{${labels}} `))
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

t.test('events are seen from the outbox to their effect, or to their death', async (t) => {
  await host.publish('k', -1)
  await host.publish('k', 2)
  await host.publish('other', 3)
  const dead = 'module="beta"'
  await until('the dead one', async () => (await value('seam_events_dead', dead)) === 1)
  await until('the one that waits', async () => (await value('seam_events_waiting', dead)) === 1)
  const open = (subscriber: string) => `module="alpha",subscriber="${subscriber}"`
  await until('a confirmation', async () => (await value('seam_events_unconfirmed', open('beta'))) === 2)
  t.equal(await value('seam_events_unconfirmed', open('gamma')), 3)
  const age = await value('seam_events_oldest_unconfirmed_seconds', open('gamma'))
  t.ok(age && age > 0 && age < 60, `${age}`)
  const handler = 'module="beta",event="thing.happened"'
  t.equal(await value('seam_events_handled_total', handler), 1)
  t.equal(await value('seam_event_failures_total', handler), 1)
  t.ok((await value('seam_event_handler_seconds_total', handler))! > 0)
})

t.test('an event is open for a system outside until it is given up, and is dead then', async (t) => {
  const { db } = host.module('alpha')
  const open = () => value('seam_events_unconfirmed', 'module="alpha",subscriber="webhook:crm"')
  const dead = () => value('seam_events_dead', 'module="webhook:crm"')
  await db.execute(`
    insert into outbox_deliveries (event_id, subscriber, place, after)
    select id, 'webhook:crm', sequence, 0 from outbox where key = 'k'`)
  t.strictSame([await open(), await dead()], [2, undefined])
  await db.execute(`update outbox_deliveries set dead_at = now() where subscriber = 'webhook:crm' and place = 1`)
  t.strictSame([await open(), await dead()], [1, 1])
})

t.test('an event of a newer version is parked, one that waits for its turn or its next attempt is not', async (t) => {
  const parked = () => value('seam_events_parked', 'module="beta"')
  t.equal(await parked(), 0)
  await host.module('alpha').db.execute(`
    with made as (
      insert into outbox (id, name, version, key, sequence, data)
      values (uuidv7(), 'thing.happened', 2, 'new', 1, '{}') returning id)
    insert into outbox_deliveries (event_id, subscriber, place, after) select id, 'beta', 1, 0 from made`)
  await until('the newer one', async () => (await parked()) === 1)
  t.equal(await value('seam_events_waiting', 'module="beta"'), 2)
})

t.test('a database that does not answer costs its own metrics, and no more than a second', async (t) => {
  const silent = Object.assign(() => new Promise(() => {}), { unsafe: (text: string) => text })
  const registry = new Registry()
  exposeEvents(registry, [{ ...host.eventsOf('beta'), name: 'silent', sql: silent as never }, host.eventsOf('beta')])
  const began = performance.now()
  const text = await registry.metrics()
  t.ok(performance.now() - began < 3_000)
  t.match(text, /seam_events_dead\{module="beta"\} 1/)
  t.notMatch(text, /seam_events_dead\{module="silent"\}/)
})
