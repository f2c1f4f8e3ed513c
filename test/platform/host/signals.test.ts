import t from 'tap'
import { type Contract, defineContract } from '../../../src/platform/kit/contract.ts'
import type { ModuleServices } from '../../../src/platform/kit/module.ts'
import { until } from '../../support/until.ts'
import { bootWith, moduleOf } from './boot.ts'

const bell = defineContract('signals-bell', {})
const { build, sql } = await bootWith(t)

/** A process with a module that notes what it hears. */
async function open(t: Parameters<typeof build>[0], contract: Contract = bell) {
  const heard: (string | null)[] = []
  let services: ModuleServices | undefined
  const module = moduleOf(contract, (app) => {
    services = app as unknown as ModuleServices
    app.onSignal(() => {
      throw new Error('this listener fails')
    })
    app.onSignal(async () => Promise.reject(new Error('and this one later')))
    app.onSignal((message) => heard.push(message))
  })
  const app = await build(t, [module])
  await app.listen()
  const say = (message: string) => services!.db.transaction((tx) => services!.signal(tx, message))
  return { heard, say, services: services! }
}

t.test('a signal reaches all processes of the module, its own included, whatever other listeners do', async (t) => {
  const [one, two] = await Promise.all([open(t), open(t)])
  for (const { heard } of [one, two]) {
    await until('the beginning', () => heard.length > 0)
    t.same(heard.splice(0), [null], 'at the beginning something may have been missed')
  }
  for (const message of ['first', '', 'ü "\'\\ \n 👩‍👩‍👧', 'x'.repeat(7_000)]) {
    await one.say(message)
    for (const { heard } of [one, two]) {
      await until('the signal', () => heard.length > 0)
      t.same(heard.splice(0), [message])
    }
  }
  await t.rejects(one.say('x'.repeat(8_001)), 'what is too long is refused, and rolls back')
})

t.test('a signal comes when the transaction has been committed, and never from one that has not', async (t) => {
  const { heard, services, say } = await open(t)
  await until('the beginning', () => heard.length > 0)
  heard.length = 0
  const commit = Promise.withResolvers<void>()
  const sent = Promise.withResolvers<void>()
  const transaction = services.db.transaction(async (tx) => {
    await services.signal(tx, 'slow')
    await services.signal(tx, 'slow, too')
    sent.resolve()
    await commit.promise
  })
  await sent.promise
  const failed = services.db.transaction(async (tx) => {
    await services.signal(tx, 'never')
    throw new Error('no')
  })
  await t.rejects(failed)
  await say('quick')
  await until('the quick one', () => heard.length > 0)
  t.same(heard, ['quick'])
  commit.resolve()
  await transaction
  await until('the slow ones', () => heard.length === 3)
  t.same(heard, ['quick', 'slow', 'slow, too'])
})

t.test('after a lost connection it is told that something may have been missed, and listens again', async (t) => {
  const { heard, say } = await open(t)
  for (let turn = 0; turn < 2; turn++) {
    await until('the beginning', () => heard.length > 0)
    t.same(heard.splice(0), [null])
    const [row] = await sql`
      select count(pg_terminate_backend(pid))::int as ended from pg_stat_activity
      where application_name = 'seam signals-bell' and query ilike 'listen%'`
    t.ok(row!.ended > 0)
  }
  await until('the connection', () => heard.length > 0)
  t.same(heard.splice(0), [null])
  await say('still here')
  await until('the signal', () => heard.length > 0)
  t.same(heard, ['still here'])
})

t.test('other modules hear nothing of it', async (t) => {
  const [one, other] = await Promise.all([open(t), open(t, defineContract('signals-other', {}))])
  await until('the beginning', () => one.heard.length > 0 && other.heard.length > 0)
  await one.say('for mine')
  await other.say('for the others')
  await until('both', () => one.heard.length > 1 && other.heard.length > 1)
  t.same(
    [one.heard, other.heard],
    [
      [null, 'for mine'],
      [null, 'for the others'],
    ],
  )
})
