import t from 'tap'
import { eventsTask } from '../../../../src/platform/host/events/events-task.ts'
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
t.teardown(async () => {
  await host.close()
  await state.close()
  await migrations.remove()
})

const task = eventsTask(['alpha', 'beta', 'gamma'].map((name) => host.handledEventsOf(name)))
const run = (...args: string[]) => task.run(args)
const idIn = (text: string) => /^[0-9a-f-]{36}/.exec(text)![0]
const stuck = () =>
  until('a stuck event', async () => {
    const text = await run('list')
    return text !== 'No event is dead or parked.' && text
  })
const effects = async () =>
  (await host.module('beta').db.execute('select n from effects order by at')).map(({ n }) => n)

t.test('without a dead event there is nothing to list', async (t) => {
  t.equal(await run('list'), 'No event is dead or parked.')
})

t.test('a dead event is listed and shown, and takes effect when it is redriven', async (t) => {
  await host.publish('k', -1)
  await host.publish('k', 2)
  const text = await stuck()
  t.match(text, /thing\.happened v1 at beta, dead since \d{4}-/)
  await until('the next one', async () => (await run('list')).includes('1 later events wait'))
  t.match(text, /key k; 1 attempts; .*the shelf is full/)
  const shown = JSON.parse(await run('show', idIn(text)))
  t.match(shown, {
    module: 'beta',
    delivery: { data: { key: 'k', n: -1 } },
    errors: [{ message: 'the shelf is full' }],
  })
  t.equal(await run('list', '--module', 'gamma'), 'No event is dead or parked.')

  broken = false
  t.match(await run('redrive', idIn(text)), /is tried again/)
  await until('both effects', async () => (await effects()).length === 2)
  t.same(await effects(), [-1, 2])
  t.equal(await run('list'), 'No event is dead or parked.')
})

t.test('all are redriven at once', async (t) => {
  broken = true
  await host.publish('a', -3)
  await host.publish('b', -4)
  await until('both', async () => (await run('list')).split('\n').length === 4)
  broken = false
  t.equal(await run('redrive', '--all'), '2 events are tried again.')
  await until('both effects', async () => (await effects()).length === 4)
})

t.test('a dead event that is discarded makes way, and its publisher hears of it', async (t) => {
  broken = true
  await host.publish('c', -5)
  await host.publish('c', 6)
  t.match(await run('discard', idIn(await stuck())), /is given up/)
  await until('the next one', async () => (await effects()).includes(6))
  t.notOk((await effects()).includes(-5))
  await until('confirmations', async () => {
    const open = await host.module('alpha').db.execute('select from outbox_deliveries where confirmed_at is null')
    return open.length === 0
  })
})

t.test('what happened since a moment is handled again, by the module that is named', async (t) => {
  broken = false
  const before = await effects()
  t.equal(await run('replay', '--to', 'beta', '--since', '2999-01-01'), '0 events are replayed to "beta".')
  t.equal(await run('replay', '--to', 'beta', '--since', '2026-01-01T00:00:00Z'), '6 events are replayed to "beta".')
  await until('all effects', async () => (await effects()).length === before.length + 6)
  for (const since of ['yesterday', '1960-01-01'])
    await t.rejects(run('replay', '--to', 'beta', '--since', since), { message: /is no time/ })
  await t.rejects(run('replay', '--to', 'x', '--since', '2026-01-01'), {
    message: '"x" subscribes to no event of the modules here (MODULES).',
  })
  await t.rejects(run('replay', '--to', 'beta'), { message: /Say list, show/ })
})

t.test('an event that no process knows is listed as parked, shown, looked at again and given up', async (t) => {
  broken = false
  await host.module('alpha').db.execute(`
    with made as (
      insert into outbox (id, name, version, key, sequence, data)
      values (uuidv7(), 'thing.happened', 2, 'newer', 1, '{"key": "newer", "n": 7}') returning id), known as (
      insert into outbox_keys (key, last, sent) values ('newer', 1, '{"beta": 1}'))
    insert into outbox_deliveries (event_id, subscriber, place, after) select id, 'beta', 1, 0 from made`)
  await host.publish('newer', 8)
  const text = await stuck()
  t.match(text, /thing\.happened v2 at beta, parked since \d{4}-.*, as no process there knows thing\.happened v2\n/)
  await until('the next one', async () => (await run('list')).includes('1 later events wait'))
  const id = idIn(text)
  const shown = async () => JSON.parse(await run('show', id))
  t.match(await shown(), { module: 'beta', state: 'parked', deadAt: null, attempts: 0, delivery: { version: 2 } })
  t.equal(await run('redrive', '--all'), '1 events are tried again.')
  await until('the next look', async () => (await shown()).errors.length === 2)
  t.match(await shown(), { state: 'parked', attempts: 0 })
  t.match(await run('discard', id), /is given up/)
  await until('the next one', async () => (await effects()).includes(8))
  await until('its confirmation', async () => {
    const open = await host.module('alpha').db.execute(`
      select from outbox_deliveries where event_id = '${id}' and confirmed_at is null`)
    return open.length === 0
  })
  t.equal(await run('list'), 'No event is dead or parked.')
})

t.test('what cannot be done is said', async (t) => {
  const unknown = '01900000-0000-7000-8000-000000000000'
  for (const verb of ['show', 'redrive', 'discard'])
    await t.rejects(run(verb, unknown), { message: `No event ${unknown} is dead or parked here (MODULES).` }, verb)
  await t.rejects(run('show', 'x'), { message: /^"x" is no id of an event\. Say list/ })
  for (const args of [[], ['show'], ['redrive'], ['redrive', unknown, '--all'], ['bury', unknown]])
    await t.rejects(run(...args), { message: /Say list, show/ }, args.join(' '))
  await t.rejects(run('list', '--module', 'x'), { message: 'There is no module "x" here (MODULES).' })
  await t.rejects(run('list', '--more'), { message: /--more/ })
})
