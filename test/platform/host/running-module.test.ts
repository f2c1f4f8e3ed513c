import t from 'tap'
import { Type } from 'typebox'
import { type Contract, type ContractEvent, defineContract, event, query } from '../../../src/platform/kit/contract.ts'
import type { ModuleApp } from '../../../src/platform/kit/module.ts'
import { bootWith, moduleOf } from './boot.ts'

const { build, faults } = await bootWith(t)

const Empty = Type.Object({})
const shop = defineContract('boot-shop', {
  routes: ['/api/shop'],
  procedures: { open: query({ input: Empty, output: Empty }), close: query({ input: Empty, output: Empty }) },
  events: { opened: event('boot-shop.opened', { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }) },
})
const till = defineContract('boot-till', { routes: ['/api/till'] })
const bank = defineContract('boot-bank', {
  procedures: { pay: query({ input: Empty, output: Empty }) },
  events: { paid: event('boot-bank.paid', { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }) },
})
const procedures = { open: () => ({}), close: () => ({}) }
const shopModule = moduleOf(shop, (app) => app.implement(procedures))
const bankModule = moduleOf(bank, (app) => app.implement({ pay: () => ({}) }))
const anyone = { config: { allow: 'anyone' } } as const

t.test('a module that keeps to its manifest boots, and calls what it uses', async (t) => {
  const { api } = await build(t, [
    shopModule,
    moduleOf(
      till,
      (app) => {
        const { open } = app.call(shop)
        app.subscribe(shop.events.opened, async () => {})
        app.get('/api/till', anyone, async () => open({}))
      },
      { uses: [shop], subscribes: [shop.events.opened] },
    ),
  ])
  const answer = await api.inject('/api/till')
  t.equal(answer.statusCode, 200)
  t.strictSame(answer.json(), {})
})

t.test('a call of a module that the manifest does not use is refused at boot', async (t) => {
  t.strictSame(await faults([shopModule, moduleOf(till, (app) => void app.call(shop))]), [
    '"boot-till" calls "boot-shop", which its manifest does not name in `uses`.',
  ])
  t.strictSame(await faults([shopModule, bankModule, moduleOf(till, (app) => void app.call(bank), { uses: [shop] })]), [
    '"boot-till" calls "boot-bank", which its manifest does not name in `uses`.',
  ])
  t.strictSame(
    await faults([shopModule, moduleOf(till, (app) => void app.call({ ...shop }), { uses: [shop] })]),
    ['"boot-till" calls "boot-shop", which its manifest does not name in `uses`.'],
    'a contract that only looks like it',
  )
})

t.test('and so is one that comes later, in a request', async (t) => {
  const app = await build(t, [
    shopModule,
    moduleOf(till, (app) => void app.get('/api/till', anyone, async () => app.call(shop).open({}))),
  ])
  const { api } = await app.listen()
  t.equal((await fetch(`${api}/api/till`)).status, 500)
})

t.test('a procedure without an implementation is refused', async (t) => {
  const missing = (name: string) => `"boot-shop" does not implement its procedure "${name}".`
  t.strictSame(await faults([moduleOf(shop, () => {})]), [missing('open'), missing('close')])
  t.strictSame(await faults([moduleOf(shop, (app) => app.implement({ open: () => ({}) } as never))]), [
    missing('close'),
  ])
  t.strictSame(await faults([moduleOf(shop, (app) => app.implement({ ...procedures, paint: () => ({}) } as never))]), [
    '"boot-shop" implements "paint", which its contract does not name.',
  ])
  t.strictSame(await faults([moduleOf(till, () => {})]), [], 'without procedures there is nothing to implement')
})

t.test('an event that is subscribed to and not handled is refused, and the other way round', async (t) => {
  t.strictSame(await faults([shopModule, moduleOf(till, () => {}, { subscribes: [shop.events.opened] })]), [
    '"boot-till" subscribes to "boot-shop.opened" and does not handle it.',
  ])
  t.strictSame(await faults([shopModule, moduleOf(till, (app) => app.subscribe(shop.events.opened, async () => {}))]), [
    '"boot-till" handles "boot-shop.opened", which its manifest does not name in `subscribes`.',
  ])
})

t.test('everything that is wrong with all modules is in one message', async (t) => {
  const seen = await faults([
    moduleOf(shop, (app) => void app.get('/api/other', async () => 1)),
    bankModule,
    moduleOf(till, (app: ModuleApp<typeof till>) => void app.call(bank), {
      uses: [shop],
      subscribes: [shop.events.opened, bank.events.paid] as ContractEvent[],
    }),
  ])
  for (const words of [
    '"boot-shop": GET /api/other is outside of its prefixes (/api/shop).',
    '"boot-shop": GET /api/other does not say who may use it (config.allow).',
    '"boot-shop" does not implement its procedure "open".',
    '"boot-shop" does not implement its procedure "close".',
    '"boot-till" calls "boot-bank", which its manifest does not name in `uses`.',
    '"boot-till" subscribes to "boot-shop.opened" and does not handle it.',
    '"boot-till" subscribes to "boot-bank.paid" and does not handle it.',
  ])
    t.equal(seen.filter((fault) => fault === words).length, 1, words)
})

t.test('what is only wrong with a module that runs elsewhere does not concern this process', async (t) => {
  const broken = moduleOf(till, () => {
    throw new Error('This plugin is not loaded here.')
  })
  t.strictSame(await faults([shopModule, broken], { MODULES: 'boot-shop' }), [])
})

t.test('faults of the catalogue and of the environment are found before anything is opened', async (t) => {
  const opened: string[] = []
  const watch = (contract: Contract, uses: Contract[]) =>
    moduleOf(contract, () => void opened.push(contract.name), { uses })
  const seen = await faults([watch(shop, [till]), watch(till, [shop])], { PORT: 'x', MODULES: 'boot-nobody' })
  t.match(seen, [/^PORT is "x"/, /MODULES names "boot-nobody"/, /in a circle: boot-shop -> boot-till -> boot-shop/])
  t.strictSame(opened, [])
})

t.test('a cache that keeps nothing is refused', async (t) => {
  const odd = defineContract('boot-odd', {
    procedures: { ask: query({ input: Type.Object({}), output: Type.Object({}), cache: { ttl: 0 } }) },
  })
  const oddModule = moduleOf(odd, (app) => app.implement({ ask: () => ({}) }))
  t.match(await faults([oddModule]), [
    /^"boot-odd": the cache of its procedure "ask" needs a ttl of more than 0 seconds/,
  ])
})

t.test('a schema that JSON cannot follow is refused', async (t) => {
  const odd = defineContract('boot-odd', {
    procedures: { ask: query({ input: Type.Object({}), output: Type.Undefined() }) },
  })
  const oddModule = moduleOf(odd, (app) => app.implement({ ask: () => undefined }))
  t.match(await faults([oddModule]), [/^"boot-odd": the output of its procedure "ask" is no schema for JSON: /])
})

t.test('tasks are there for operators as declared, and none twice', async (t) => {
  const task = (name: string) => ({
    name,
    usage: '<x>',
    summary: 'Does it.',
    run: async ([x]: readonly string[]) => `did ${x}`,
  })
  const { tasks } = await build(t, [
    moduleOf(shop, (app) => {
      app.implement(procedures)
      app.task(task('open-shop'))
    }),
    moduleOf(till, (app) => app.task(task('open-till'))),
  ])
  t.same(
    tasks.map(({ name }) => name),
    ['events', 'open-shop', 'open-till'],
  )
  t.equal(await tasks[1]!.run(['it']), 'did it')
  const twice = moduleOf(till, (app) => {
    app.task(task('open'))
    app.task(task('open'))
  })
  t.strictSame(await faults([twice]), ['"boot-till" and "boot-till" both have the task "open".'])
})
