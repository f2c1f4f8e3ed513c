import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createPostgresBackend, Queue, withBackend } from 'bullmq'
import type { FastifyBaseLogger } from 'fastify'
import pino from 'pino'
import postgres, { type Sql } from 'postgres'
import type { Test } from 'tap'
import { type Delivery, deliveryOf } from '../../../../src/platform/host/events/delivery.ts'
import { eventsTask } from '../../../../src/platform/host/events/events-task.ts'
import { sequence } from '../../../../src/platform/host/events/sequence.ts'
import { discard, redrive, stuckEvents } from '../../../../src/platform/host/events/stuck-events.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import {
  alpha,
  type EventHost,
  type EventHostOptions,
  eventHost,
  eventMigrations,
  writeEffect,
} from '../../../support/event-host.ts'
import { freshState } from '../../../support/topology.ts'
import { until } from '../../../support/until.ts'

const PROCESS = new URL('../../../support/event-process.ts', import.meta.url).pathname

/** What every transport must do with events, from the commit that makes them to their one effect and its confirmation. */
export async function deliverySuite(t: Test, queue: 'redis' | 'postgres'): Promise<void> {
  const migrations = await eventMigrations()
  t.teardown(() => migrations.remove())

  /** An empty database and queue, and hosts on them that are closed at the end of the test. */
  const start = async (t: Test) => {
    const state = await freshState(queue)
    const sql = postgres(state.env.DATABASE_URL!, { max: 2, onnotice: () => {} })
    const hosts: EventHost[] = []
    const children: ChildProcess[] = []
    t.teardown(async () => {
      await Promise.all(children.map(kill))
      await Promise.all(hosts.map((host) => host.close()))
      await sql.end()
      await state.close()
    })
    const build = async (options: Partial<EventHostOptions> = {}) => {
      const host = await eventHost({ env: state.env, migrations: migrations.folder, ...options })
      hosts.push(host)
      return host
    }
    return {
      sql,
      redisUrl: state.env.REDIS_URL,
      build,
      /** A module's queue, as anybody may write to it. */
      queueOf: (module: string): Queue => {
        const { DATABASE_URL, REDIS_URL } = state.env
        if (REDIS_URL) return new Queue(module, { connection: { url: REDIS_URL }, prefix: '{seam}' })
        const OnPostgres = withBackend(createPostgresBackend).Queue
        const connection = { connectionString: DATABASE_URL!, max: 1 }
        return new OnPostgres(module, { connection }) as unknown as Queue
      },
      host: async (options?: Partial<EventHostOptions>) => {
        const host = await build(options)
        await host.start()
        return host
      },
      /** A process of its own; resolves when it is at work. */
      process: async (hosted: string, die = '') => {
        const env = {
          ...process.env,
          REDIS_URL: '',
          ...state.env,
          HOSTED: hosted,
          DIE: die,
          MIGRATIONS: migrations.folder,
        }
        const child = spawn(process.execPath, [PROCESS], { env, stdio: ['pipe', 'pipe', 'inherit'] })
        children.push(child)
        const ready = once(createInterface(child.stdout), 'line')
        await Promise.race([ready, once(child, 'exit')])
        return child
      },
      effects: (module: string) => sql`select * from ${sql(module)}.effects order by at`,
      deliveries: () => sql`select * from alpha.outbox_deliveries order by event_id, subscriber`,
      /** Numbers events of `alpha` as a relay does that goes no further, for processes that run none. */
      number: () =>
        sql.begin(async (tx) => {
          await tx`set local search_path = alpha`
          await sequence(tx as unknown as Sql, 'alpha', { limit: 100, seconds: 30 })
        }),
      /** As if the deadline had passed by which confirmations are waited for. */
      passDeadline: () => sql`update alpha.outbox_deliveries set due_at = now() where confirmed_at is null`,
      confirmed: (count: number, timeout?: number) =>
        until(
          `${count} confirmed deliveries`,
          async () => (await sql`select from alpha.outbox_deliveries where confirmed_at is not null`).length === count,
          timeout,
        ),
    }
  }

  t.test('an event is on its way at the commit, not at the next sweep', async (t) => {
    const system = await start(t)
    const handled = new Map<number, PromiseWithResolvers<number>>()
    const host = await system.host({
      effects: { beta: async ({ data }) => handled.get(data.n)?.resolve(performance.now()), gamma: async () => {} },
    })
    const times: number[] = []
    for (let n = 0; n < 100; n++) {
      const arrival = Promise.withResolvers<number>()
      handled.set(n, arrival)
      await host.publish(`k${n}`, n)
      const committed = performance.now()
      times.push((await arrival.promise) - committed)
    }
    const sorted = times.slice(10).toSorted((a, b) => a - b)
    const at = (part: number) => sorted[Math.floor(sorted.length * part)]!
    t.comment(`${queue}: commit to handler p50 ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms`)
    t.ok(at(0.5) < 250, `p50 ${at(0.5)} ms; by sweeps of 1 s it would be 500`)
  })

  // From here on several run at once, and those come first that wait for the locks of the dead.
  t.jobs = 3

  t.test(
    'a handler that does not end holds up the end of its process for 5 s at most, and is tried again by another',
    async (t) => {
      const system = await start(t)
      const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
      const stuck = Promise.withResolvers<void>()
      const host = await system.host({
        hosted: ['beta'],
        effects: {
          beta: () => {
            begin()
            return stuck.promise
          },
        },
      })
      const publisher = await system.host({ hosted: ['alpha'] })
      await publisher.publish('k', 1)
      await begun
      const started = performance.now()
      await host.close()
      const took = performance.now() - started
      t.ok(took < 5000, `${took} ms`)
      stuck.resolve()
      await system.host({ hosted: ['beta'] })
      await system.confirmed(1, 40_000)
      t.equal((await system.effects('beta')).length, 1)
    },
  )

  t.test(
    'a process killed between the commit and the relay: the event has its one effect after a restart',
    async (t) => {
      const system = await start(t)
      const dead = await system.process('alpha', 'after publishing')
      t.equal(dead.signalCode ?? (await once(dead, 'exit'))[1], 'SIGKILL')
      t.equal((await system.sql`select from alpha.outbox_new`).length, 1)
      await system.host()
      await system.confirmed(2)
      t.equal((await system.effects('beta')).length, 1)
      t.equal((await system.effects('gamma')).length, 1)
    },
  )

  for (const when of ['while handling', 'after handling']) {
    t.test(`a process killed ${when} an event: it has its one effect after a restart`, async (t) => {
      const system = await start(t)
      const host = await system.host({ hosted: ['alpha', 'gamma'] })
      const dying = await system.process('beta', when)
      const exit = once(dying, 'exit')
      await host.publish('k', 1)
      t.equal((await exit)[1], 'SIGKILL')
      await until(
        'the end of its transaction',
        async () =>
          (
            await system.sql`select from pg_stat_activity where datname = current_database() and application_name = 'seam beta'`
          ).length === 0,
      )
      t.equal((await system.effects('beta')).length, when === 'while handling' ? 0 : 1)
      await system.confirmed(1)
      // What is in the queue still is not put there again; it is taken over once the dead process's lock has ended.
      await system.passDeadline()
      const second = await system.process('beta')
      const killed = performance.now()
      await system.confirmed(2, 45_000)
      t.comment(`${queue}: taken over after ${((performance.now() - killed) / 1000).toFixed(1)} s`)
      t.equal((await system.effects('beta')).length, 1)
      t.equal((await system.sql`select from beta.inbox`).length, 0)
      second.kill('SIGTERM')
      t.equal((await once(second, 'exit'))[0], 0, 'and a process that is asked to end does')
    })
  }

  t.test('an event whose handler fails again and again is dead, and takes effect when it is redriven', async (t) => {
    const system = await start(t)
    const logged: string[] = []
    let broken = true
    let tries = 0
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      log: logTo(logged),
      attempts: 2,
      effects: {
        beta: async (event, handling) => {
          tries++
          if (broken && event.key === 'k') throw new Error(`broken ${tries}`)
          await writeEffect(event, handling)
        },
      },
    })
    const { db } = host.module('beta')
    await host.publish('k', 1)
    await host.publish('k', 2)
    await host.publish('other', 3)
    const dead = await until('the death of one', async () => (await stuckEvents(db, { limit: 10 }))[0])
    await system.confirmed(1)
    t.equal(dead.attempts, 2)
    t.match(dead.delivery, {
      publisher: 'alpha',
      name: 'thing.happened',
      key: 'k',
      sequence: 1,
      data: { key: 'k', n: 1 },
    })
    t.match(dead.errors, [{ message: /^broken/, stack: /delivery-suite/ }, { message: /^broken/ }])
    t.equal(dead.waiting, 1, 'the next of its key waits')
    t.ok(logged.some((line) => line.includes('an event is dead')))
    t.match([...(await system.effects('beta'))], [{ n: 3 }], 'others do not')

    // To be delivered once more does not bring it back to life.
    const before = tries
    await system.passDeadline()
    await until(
      'the second delivery',
      async () => (await system.deliveries()).filter((d) => d.subscriber === 'beta' && d.attempts === 2).length === 2,
    )
    await host.publish('other', 4)
    await system.confirmed(2)
    t.equal(tries, before + 1)

    broken = false
    t.equal(await redrive(db), 1)
    await system.confirmed(4)
    t.match([...(await system.effects('beta'))], [{ n: 3 }, { n: 4 }, { n: 1 }, { n: 2 }])
    t.strictSame(await stuckEvents(db, { limit: 10 }), [])
  })

  t.test('to be delivered again is no attempt for an event that waits for its next one', async (t) => {
    const system = await start(t)
    let tries = 0
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      effects: {
        beta: async (event, handling) => {
          if (event.key === 'k' && ++tries < 2) throw new Error('not yet')
          await writeEffect(event, handling)
        },
      },
    })
    await host.publish('k', 1)
    await until('the first attempt', async () => (await system.sql`select from beta.inbox`).length === 1)
    await system.sql`update beta.inbox set due_at = now() + interval '1 hour'`
    await system.passDeadline()
    await until('the second delivery', async () =>
      (await system.deliveries()).some((row) => row.subscriber === 'beta' && row.attempts === 2),
    )
    await host.publish('other', 2)
    await system.confirmed(1)
    t.equal(tries, 1)
    await system.sql`update beta.inbox set due_at = now()`
    await system.confirmed(2)
    t.equal(tries, 2)
    t.match([...(await system.effects('beta'))], [{ n: 2 }, { n: 1 }])
  })

  t.test('a dead event that is discarded has no effect, and makes way', async (t) => {
    const system = await start(t)
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      attempts: 1,
      effects: {
        beta: async (event, handling) => {
          if (event.data.n === 1) throw new Error('never')
          await writeEffect(event, handling)
        },
      },
    })
    const { db } = host.module('beta')
    await host.publish('k', 1)
    await host.publish('k', 2)
    const dead = await until('the death of one', async () => (await stuckEvents(db, { limit: 10 }))[0])
    t.equal(await discard(db, '01900000-0000-7000-8000-000000000000'), undefined)
    t.equal((await discard(db, dead.delivery.id))?.id, dead.delivery.id)
    t.equal(await discard(db, dead.delivery.id), undefined)
    await system.confirmed(1)
    t.match([...(await system.effects('beta'))], [{ n: 2 }])
    t.equal((await system.sql`select from beta.inbox`).length, 0)
  })

  t.test('events of one key take effect in the order of their commits, however they arrive', async (t) => {
    const system = await start(t)
    const publisher = await system.build({ hosted: ['alpha'] })
    const keys = ['a', 'b', 'c']
    for (let n = 1; n <= 20; n++) for (const key of keys) await publisher.publish(key, n)
    await system.number()
    const rows = await system.sql`
      select id, name, version, key, sequence::int, place::int, after::int, data from alpha.outbox
      join alpha.outbox_deliveries on event_id = id and subscriber = 'beta' order by random()`
    const hosts = [await system.host({ hosted: ['beta'] }), await system.host({ hosted: ['beta'] })]
    // All of them twice, and in no order.
    for (const round of [1, 2])
      for (const row of rows) {
        const delivery = {
          ...(row as unknown as {
            id: string
            name: string
            version: number
            key: string
            sequence: number
            place: number
            after: number
          }),
          data: row.data as unknown,
          publisher: 'alpha',
          occurredAt: new Date().toISOString(),
          requestId: null,
          traceparent: null,
        }
        await hosts[round - 1]!.transport.send('beta', [
          { kind: 'events', id: `${round}-${delivery.id}`, events: [delivery] },
        ])
      }
    await until('all effects', async () => (await system.effects('beta')).length >= 60, 20_000)
    const effects = await system.effects('beta')
    t.equal(effects.length, 60)
    for (const key of keys)
      t.same(
        effects.filter((effect) => effect.key === key).map(({ n }) => n),
        Array.from({ length: 20 }, (_, n) => n + 1),
        key,
      )
    await until('an empty inbox', async () => (await system.sql`select from beta.inbox`).length === 0)
  })

  t.test('a slow handler at one subscriber holds up no other subscriber of the same event', async (t) => {
    const system = await start(t)
    const { promise: open, resolve: release } = Promise.withResolvers<void>()
    const gamma = Promise.withResolvers<void>()
    const host = await system.host({ effects: { beta: () => open, gamma: async () => gamma.resolve() } })
    await host.publish('k', 1)
    await gamma.promise
    release()
    await system.confirmed(2)
  })

  t.test('a slow handler of one key keeps no worker from the other keys', async (t) => {
    const system = await start(t)
    const open = Promise.withResolvers<void>()
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      effects: {
        beta: async (event, handling) => {
          if (event.key === 'slow') await open.promise
          await writeEffect(event, handling)
        },
      },
    })
    for (let n = 1; n <= 20; n++) await host.publish('slow', n)
    for (let n = 1; n <= 20; n++) await host.publish(`quick ${n}`, n)
    await until('the quick ones', async () => (await system.effects('beta')).length === 20)
    open.resolve()
    await system.confirmed(40)
    t.same(
      (await system.effects('beta')).filter(({ key }) => key === 'slow').map(({ n }) => n),
      Array.from({ length: 20 }, (_, n) => n + 1),
    )
  })

  t.test('an attempt that hangs keeps nothing else that is due waiting', async (t) => {
    const system = await start(t)
    const open = Promise.withResolvers<void>()
    const tries = new Map<string, number>()
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      effects: {
        beta: async (event, handling) => {
          const nth = (tries.get(event.key) ?? 0) + 1
          tries.set(event.key, nth)
          if (nth === 1) throw new Error('not yet')
          if (event.key === 'hangs') await open.promise
          await writeEffect(event, handling)
        },
      },
    })
    await host.publish('hangs', 1)
    await until('its second attempt', () => tries.get('hangs') === 2)
    await host.publish('other', 1)
    await until('the other one', async () => (await system.effects('beta')).length === 1)
    t.match(await system.effects('beta'), [{ key: 'other' }])
    open.resolve()
    await system.confirmed(2)
    t.same(Object.fromEntries(tries), { hangs: 2, other: 2 })
  })

  t.test('events that come together are handled in one transaction, until one of them fails or is slow', async (t) => {
    const system = await start(t)
    const slow = Promise.withResolvers<void>()
    let tries = 0
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      effects: {
        beta: async (event, handling) => {
          if (event.key === 'slow') await slow.promise
          if (event.key === 'heavy') await sleep(130)
          await writeEffect(event, handling)
          if (event.key === 'poison' && ++tries < 3) throw new Error('not yet')
        },
      },
    })
    const together = (keys: string[], rounds: number) =>
      host.module('alpha').db.transaction(async (tx) => {
        for (let n = 1; n <= rounds; n++)
          for (const key of keys) await host.module('alpha').publish(tx, alpha.events.happened, { key, n })
      })
    await together(['a', 'b'], 20)
    await system.confirmed(40)
    const transactions = await system.sql`select distinct xmin::text from beta.effects`
    t.equal(transactions.length, 1)
    await together(['c', 'poison', 'd'], 3)
    await system.confirmed(49)
    // After these, no more than a few are expected to be done in the time of a transaction.
    await together(['heavy'], 10)
    await system.confirmed(59)
    await together(['slow', 'e'], 3)
    await until(
      'the quick ones',
      async () => (await system.effects('beta')).filter(({ key }) => key === 'e').length === 3,
    )
    slow.resolve()
    await system.confirmed(65)
    const effects = await system.effects('beta')
    t.equal(effects.length, 65)
    for (const [key, group] of Map.groupBy(effects, ({ key }) => key))
      t.same(
        group.map(({ n }) => n),
        group.map((_, i) => i + 1),
        `${key}: each once, in order`,
      )
  })

  t.test('a replay has history handled again, between what came before and what comes after', async (t) => {
    const system = await start(t)
    const replayed: boolean[] = []
    const host = await system.host({
      effects: {
        beta: async (event, handling) => {
          replayed.push(event.isReplayed)
          await writeEffect(event, handling)
        },
      },
    })
    const keys = ['a', 'b', 'c']
    const last = 40
    for (const key of keys) for (let n = 1; n <= 5; n++) await host.publish(key, n)
    let given: Promise<number | undefined> | undefined
    const writer = async (key: string) => {
      for (let n = 6; n <= last; n++) {
        await host.publish(key, n)
        if (key === 'a' && n === 15) given = host.handledEventsOf('alpha').replay('beta', 0)
      }
    }
    await Promise.all(keys.map(writer))
    const again = (await given)!
    await system.confirmed(keys.length * last * 2 + again)
    const effects = await system.effects('beta')
    t.equal(effects.length, keys.length * last + again)
    for (const key of keys) {
      const ns = effects.filter((effect) => effect.key === key).map(({ n }) => n)
      const history = Array.from({ length: ns.length - last }, (_, i) => i + 1)
      const rest = Array.from({ length: last - history.length }, (_, i) => history.length + i + 1)
      t.ok(history.length > 0, key)
      t.same(ns, [...history, ...history, ...rest], key)
    }
    t.equal(replayed.filter(Boolean).length >= again, true)
    t.equal((await system.effects('gamma')).length, keys.length * last, 'nobody else notices')
    t.equal(await host.handledEventsOf('alpha').replay('beta', Date.now() + 60_000), 0, 'only what happened since')
    t.equal(await host.handledEventsOf('alpha').replay('nobody', 0), undefined)
    t.same([...(await system.sql`select * from beta.inbox`)], [])
  })

  t.test('a new subscriber that asks for it is given history first, each event once', async (t) => {
    const system = await start(t)
    const before = await system.host({ subscribers: ['gamma'] })
    for (let n = 1; n <= 10; n++) for (const key of ['a', 'b']) await before.publish(key, n)
    await system.confirmed(20)
    await before.close()
    // Two at once, as replicas start.
    const hosts = [
      await system.build({ subscription: { replay: true } }),
      await system.build({ subscription: { replay: true } }),
    ]
    await Promise.all(hosts.map((host) => host.start()))
    for (let n = 11; n <= 20; n++) for (const key of ['a', 'b']) await hosts[n % 2]!.publish(key, n)
    await system.confirmed(80)
    for (const module of ['beta', 'gamma'])
      for (const key of ['a', 'b'])
        t.same(
          (await system.effects(module)).filter((effect) => effect.key === key).map(({ n }) => n),
          Array.from({ length: 20 }, (_, i) => i + 1),
          `${key} at ${module}`,
        )
    await hosts[0]!.close()
    const again = await system.host({ subscription: { replay: true } })
    await again.publish('a', 21)
    await system.confirmed(82)
    t.equal((await system.effects('beta')).length, 41, 'and once only')
  })

  t.test('what nobody had relayed before there was a new subscriber is history for it, too', async (t) => {
    const system = await start(t)
    const before = await system.build({ subscribers: ['gamma'] })
    await before.publish('k', 1)
    await before.close()
    const host = await system.host({ subscription: { replay: true } })
    await host.publish('k', 2)
    await system.confirmed(4)
    for (const module of ['beta', 'gamma']) t.match([...(await system.effects(module))], [{ n: 1 }, { n: 2 }], module)
  })

  t.test('an event of an unordered subscription waits for no other, and has one effect all the same', async (t) => {
    const system = await start(t)
    const open = Promise.withResolvers<void>()
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      subscription: { unordered: true },
      attempts: 1,
      effects: {
        beta: async (event, handling) => {
          if (event.data.n === 1) await open.promise
          if (event.data.n === 2) throw new Error('never')
          await writeEffect(event, handling)
        },
      },
    })
    for (let n = 1; n <= 5; n++) await host.publish('k', n)
    await system.confirmed(3)
    t.same((await system.effects('beta')).map(({ n }) => n).sort(), [3, 4, 5])
    // As if the confirmations had been lost.
    await system.sql`update alpha.outbox_deliveries set confirmed_at = null where subscriber = 'beta'`
    await system.passDeadline()
    await system.confirmed(3)
    const { db } = host.module('beta')
    const [dead] = await until('a dead one', async () => {
      const all = await stuckEvents(db, { limit: 10 })
      return all.length > 0 && all
    })
    t.equal(dead!.waiting, 0)
    await discard(db, dead!.delivery.id)
    open.resolve()
    await until('the first one', async () => (await system.effects('beta')).length === 4)
    await system.passDeadline()
    await system.confirmed(5)
    t.same((await system.effects('beta')).map(({ n }) => n).sort(), [1, 3, 4, 5])
  })

  t.test('notes of events without order are kept for a day, however short events are kept', async (t) => {
    const system = await start(t)
    const host = await system.build({ hosted: ['beta'], eventsRetention: 60 })
    for (const hours of [1, 23, 25])
      await system.sql`
        insert into beta.inbox_done (event_id, place, done_at)
        values (gen_random_uuid(), ${hours}, now() - make_interval(hours => ${hours}))`
    await host.start()
    const notes = () => system.sql`select place::int from beta.inbox_done order by place`
    const left = await until('the pruning', async () => {
      const rows = await notes()
      return rows.length < 3 && rows
    })
    t.same([...left], [{ place: 1 }, { place: 23 }])
  })

  t.test('an event takes effect once in each subscriber, and each confirms it', async (t) => {
    const system = await start(t)
    const { publish } = await system.host()
    await publish('k', 7)
    await system.confirmed(2)
    for (const module of ['beta', 'gamma']) {
      t.match([...(await system.effects(module))], [{ key: 'k', sequence: '1', n: 7 }])
      t.match(
        [...(await system.sql`select * from ${system.sql(module)}.inbox_keys`)],
        [{ publisher: 'alpha', key: 'k', last: '1' }],
      )
    }
    for (const { confirmed_at, attempts } of await system.deliveries()) {
      t.ok(confirmed_at)
      t.equal(attempts, 1)
    }
  })

  t.test('a transaction that is rolled back tells nobody anything', async (t) => {
    const system = await start(t)
    const { publish } = await system.host()
    await t.rejects(
      publish('k', 1, () => Promise.reject(new Error('changed my mind'))),
      { message: 'changed my mind' },
    )
    await publish('k', 2)
    await system.confirmed(2)
    t.match([...(await system.effects('beta'))], [{ sequence: '1', n: 2 }])
    t.equal((await system.effects('beta')).length, 1)
  })

  t.test('an event that nobody woke the relay for is found by the next sweep', async (t) => {
    const system = await start(t)
    await system.host()
    await system.sql`
      insert into alpha.outbox_new (id, name, version, key, data, subscribers)
      values (uuidv7(), 'thing.happened', 1, 'k', '{"key": "k", "n": 5}', '[{"name": "beta"}]')`
    await system.confirmed(1)
    t.match([...(await system.effects('beta'))], [{ n: 5 }])
  })

  t.test('a delivery that comes again and again, also at once, has one effect', async (t) => {
    const system = await start(t)
    const { promise: open, resolve } = Promise.withResolvers<void>()
    let begun = 0
    const effects = {
      beta: async (...[event, handling]: Parameters<typeof writeEffect>) => {
        begun++
        await writeEffect(event, handling)
        await open
      },
    }
    // Each host has workers of its own, so the same message is handled in several at the same time.
    const hosts = [await system.host({ effects }), await system.host({ effects, hosted: ['beta'] })]
    await hosts[0]!.publish('k', 1)
    await until('the first handler', () => begun === 1)
    const [event] = await system.sql`select id, name, version, key, sequence::int, data, created_at from alpha.outbox`
    const { created_at, ...rest } = event!
    const delivery = {
      ...(rest as { id: string; name: string; version: number; key: string; sequence: number; data: unknown }),
      place: 1,
      after: 0,
      publisher: 'alpha',
      occurredAt: created_at.toISOString(),
      requestId: null,
      traceparent: null,
    }
    const copies = Array.from({ length: 6 }, (_, i) => ({
      kind: 'events' as const,
      id: `copy-${i}`,
      events: [delivery],
    }))
    await hosts[0]!.transport.send('beta', copies)
    await until('a duplicate that waits', async () => (await system.sql`select from beta.inbox`).length === 1)
    resolve()
    await system.confirmed(2)
    await hosts[0]!.transport.send('beta', [{ kind: 'events', id: 'late', events: [delivery] }])
    await hosts[0]!.publish('k', 2)
    await system.confirmed(4)
    t.match([...(await system.effects('beta'))], [{ n: 1 }, { n: 2 }])
    t.equal((await system.effects('beta')).length, 2)
    t.equal(begun, 2, 'the handler itself ran once for each event')
    await until('an empty inbox', async () => (await system.sql`select from beta.inbox`).length === 0)
  })

  t.test('two processes with the same modules take each event once between them', async (t) => {
    const system = await start(t)
    const hosts = [await system.host(), await system.host()]
    await Promise.all(Array.from({ length: 100 }, (_, n) => hosts[n % 2]!.publish(`k${n % 5}`, n)))
    await system.confirmed(200)
    for (const module of ['beta', 'gamma']) {
      const ns = (await system.effects(module)).map(({ n }) => n).sort((a, b) => a - b)
      t.same(
        ns,
        Array.from({ length: 100 }, (_, n) => n),
      )
    }
    t.same(new Set((await system.deliveries()).map(({ attempts }) => attempts)), new Set([1]))
  })

  t.test('a handler that throws changes nothing, and is tried again until it succeeds', async (t) => {
    const system = await start(t)
    const logged: string[] = []
    let tries = 0
    const host = await system.host({
      log: logTo(logged),
      effects: {
        beta: async (event, handling) => {
          await writeEffect(event, handling)
          if (++tries < 3) {
            const [inside] = await handling.tx.execute('select count(*)::int as rows from effects')
            t.equal(inside!.rows, 1, 'nothing is left of the attempt before')
            throw new Error('not yet')
          }
        },
      },
    })
    await host.publish('k', 1)
    await until('the first failure', () => tries === 1)
    t.equal((await system.effects('beta')).length, 0)
    t.equal((await system.sql`select from beta.inbox_keys`).length, 0)
    await system.confirmed(2)
    t.equal(tries, 3)
    t.equal((await system.effects('beta')).length, 1)
    t.equal((await system.effects('gamma')).length, 1, 'and the other subscriber does not see any of it')
    t.equal(logged.filter((line) => line.includes('will be tried again')).length, 2)
  })

  t.test('a poison event does not hold up the events of other keys', async (t) => {
    const system = await start(t)
    const host = await system.host({
      effects: {
        beta: async (event, handling) => {
          if (event.key === 'poison') throw new Error('never')
          await writeEffect(event, handling)
        },
      },
    })
    await host.publish('poison', 0)
    await Promise.all(Array.from({ length: 20 }, (_, n) => host.publish(`k${n}`, n)))
    await system.confirmed(41)
    t.equal((await system.effects('beta')).length, 20)
  })

  t.test('an event of an unknown version is kept, looked at again and spoken of, not lost', async (t) => {
    const system = await start(t)
    const logged: string[] = []
    const host = await system.host({ log: logTo(logged), hosted: ['alpha', 'beta'], attempts: 1 })
    await system.sql`
      with made as (
        insert into alpha.outbox (id, name, version, key, sequence, data)
        values (uuidv7(), 'thing.happened', 2, 'other', 1, '{}') returning id)
      insert into alpha.outbox_deliveries (event_id, subscriber, place, after) select id, 'beta', 1, 0 from made`
    const spoken = () => logged.filter((line) => line.includes('thing.happened v2')).length
    await until('an attempt', () => spoken() === 1)
    await system.sql`update beta.inbox set due_at = now()`
    await until('another one', () => spoken() === 2)
    t.match([...(await system.sql`select * from beta.inbox`)], [{ attempts: 0, dead_at: null }])
    const [delivery] = await system.deliveries()
    t.equal(delivery!.confirmed_at, null)
    await host.publish('k', 1)
    await until('the next event', async () => (await system.effects('beta')).length === 1)
  })

  t.test('data that is not what the contract says is dead at once, with the path of the fault', async (t) => {
    const system = await start(t)
    const host = await system.host()
    await system.sql`
      with made as (
        insert into alpha.outbox (id, name, version, key, sequence, data)
        values (uuidv7(), 'thing.happened', 1, 'k', 1, '{"key": "k", "n": "one"}') returning id)
      insert into alpha.outbox_deliveries (event_id, subscriber, place, after) select id, 'beta', 1, 0 from made`
    const { db } = host.module('beta')
    const dead = await until('its death', async () => (await stuckEvents(db, { limit: 10 }))[0])
    t.match(dead.errors, [{ message: /\/n must be integer/ }])
    t.equal((await system.deliveries())[0]!.confirmed_at, null)
    t.equal((await system.effects('beta')).length, 0)
  })

  t.test(
    'what is in the queue and is no message is kept, shown and given up; what is sound beside it counts',
    async (t) => {
      const system = await start(t)
      const logged: string[] = []
      const host = await system.host({ hosted: ['beta'], log: logTo(logged) })
      const publisher = await system.build({ hosted: ['alpha'] })
      await publisher.publish('k', 1)
      await system.number()
      const [row] = await system.sql`
      select id, name, version, key, sequence::int, place::int, after::int, data::text, request_id, traceparent
      from alpha.outbox join alpha.outbox_deliveries on event_id = id and subscriber = 'beta'`
      const sound = deliveryOf('alpha', { ...row, occurred_at: new Date().toISOString() })
      const like = (part: object) => ({ kind: 'events', events: [{ ...sound, ...part }] })
      const told = (confirmation: object) => ({ kind: 'confirmation', confirmation })
      let nested: unknown = 1
      for (let depth = 0; depth < 1_000; depth++) nested = [nested]
      const garbage = [
        {},
        'a string',
        // What PostgreSQL cannot keep is not in a queue there either.
        ...(queue === 'redis'
          ? [
              'zero \0 and half a character \ud83d',
              like({ data: { key: 'k', n: 1, text: 'zero \0' } }),
              like({ data: { key: 'k', n: 1, 'half \ud83d': 1 } }),
            ]
          : []),
        { kind: 'events', events: [{}] },
        { kind: 'events', events: [null] },
        { kind: 'events', events: 'many' },
        { kind: 'of the next release' },
        like({ data: nested }),
        like({ key: 'k'.repeat(3_000) }),
        like({ occurredAt: 'yesterday' }),
        like({ after: '0' }),
        told({ subscriber: 'beta', deliveries: [{ id: 'no UUID', place: 1 }] }),
        told({ subscriber: ['beta'], deliveries: [{ id: sound.id, place: 1 }] }),
        told({ subscriber: 'beta', deliveries: { 0: sound } }),
        { kind: 'x'.repeat(2_000_000) },
        { kind: 'events', events: [sound, { ...sound, id: 'broken' }] },
      ]
      const jobs = system.queueOf('beta')
      t.teardown(() => jobs.close())
      await jobs.addBulk(garbage.map((data) => ({ name: 'job', data, opts: { attempts: 1 } })))
      const { db } = host.module('beta')
      const dead = await until('the garbage', async () => {
        const all = await stuckEvents(db, { limit: 100 })
        return all.length >= garbage.length && all
      })
      t.equal(dead.length, garbage.length)
      await until('the sound event', async () => (await system.effects('beta')).length === 1)
      await until('an empty queue', async () => (await host.transport.waiting('beta')) === 0)
      t.equal(await jobs.getFailedCount(), 0)
      t.equal(logged.filter((line) => line.includes('is no event, and is kept')).length, garbage.length)
      const texts = dead.map(({ delivery }) => (delivery.data as { unreadable: string }).unreadable)
      t.ok(texts.includes('{}'))
      t.match(
        texts.find((text) => text.includes('"broken"')),
        /^\{"kind":"events","events":\[\{"id":"broken"[^[]*$/,
        'without the sound one',
      )
      t.equal(Math.max(...texts.map((text) => text.length)), 1_000_000, 'what is endless is cut')
      t.match(dead, Array(garbage.length).fill({ delivery: { publisher: 'queue:beta', name: 'unreadable' } }))

      await jobs.add('job', {})
      const task = eventsTask([host.handledEventsOf('beta')])
      const { id } = dead[texts.indexOf('{}')]!.delivery
      await until('the same again', async () => (await stuckEvents(db, { limit: 1, id }))[0]!.attempts === 2)
      t.match(await task.run(['list']), `${id}  unreadable v0 at beta`)
      t.equal(await redrive(db, id), 1)
      await until('its second death', async () => (await stuckEvents(db, { limit: 1, id }))[0])
      for (const { delivery } of dead) await task.run(['discard', delivery.id])
      t.equal(await task.run(['list']), 'No event is dead or parked.')
      t.same([...(await system.sql`select * from beta.inbox`)], [])
    },
  )

  t.test('an event that is said to be of a module that there is not is kept, and nobody is told of it', async (t) => {
    const system = await start(t)
    const host = await system.host({ hosted: ['alpha', 'beta'] })
    const event = (publisher: string, n: number, version = 1): Delivery => ({
      ...{
        id: randomUUID(),
        publisher,
        name: 'thing.happened',
        version,
        key: `k${n}`,
        sequence: 1,
        place: 1,
        after: 0,
      },
      ...{ occurredAt: new Date().toISOString(), data: { key: `k${n}`, n }, requestId: null, traceparent: null },
    })
    const events = [event('nobody', 1), event('alpha', 2), event('next', 3, 2)]
    const jobs = system.queueOf('beta')
    t.teardown(() => jobs.close())
    await jobs.add('job', { kind: 'events', events })
    const { db } = host.module('beta')
    const [forged, unknown, ...others] = await until('those that are kept', async () => {
      const all = await stuckEvents(db, { limit: 10 })
      return all.length >= 2 && all
    })
    t.same(others, [])
    t.match(forged, { state: 'dead', delivery: { publisher: 'queue:beta', name: 'unreadable', after: null } })
    t.match(forged!.errors, [
      { message: 'It says that "nobody" has published thing.happened v1, but there is no such module.' },
    ])
    t.same(JSON.parse((forged!.delivery.data as { unreadable: string }).unreadable).events, [events[0]])
    t.match(unknown, { state: 'parked', delivery: { publisher: 'next' } }, 'a release may add one')
    await until('the effect of the sound one', async () => (await system.effects('beta')).length === 1)
    for (const { delivery } of [forged!, unknown!]) await host.handledEventsOf('beta').discard(delivery.id)
    t.same([...(await system.sql`select * from beta.inbox`)], [])
    t.match([...(await system.effects('beta'))], [{ n: 2 }])
    const queues = ['nobody', 'next'].map((name) => host.transport.waiting(name))
    t.same(await Promise.all(queues), [0, 0])
  })

  t.test('an unconfirmed delivery is sent again after its deadline, and has no second effect', async (t) => {
    const system = await start(t)
    const host = await system.host()
    await host.publish('k', 1)
    await system.confirmed(2)
    // As if its confirmation had been lost.
    await system.sql`update alpha.outbox_deliveries set confirmed_at = null where subscriber = 'beta'`
    t.equal((await system.deliveries())[0]!.attempts, 1)
    await system.passDeadline()
    await system.confirmed(2)
    t.equal((await system.deliveries())[0]!.attempts, 2)
    t.equal((await system.effects('beta')).length, 1)
  })

  t.test('a publisher whose database went back in time is heard again when its numbers are raised', async (t) => {
    const system = await start(t)
    const before = await system.host({ hosted: ['alpha', 'beta'] })
    for (let n = 1; n <= 3; n++) await before.publish('k', n)
    await system.confirmed(3)
    await before.close()
    await system.sql`delete from alpha.outbox where sequence > 1`
    await system.sql`delete from alpha.outbox_deliveries where place > 1`
    await system.sql`update alpha.outbox_keys set last = 1, sent = '{"beta": 1}', sent_before = '{}'`
    await system.sql`update alpha.outbox_keys set last = last + 1000000`
    const after = await system.host({ hosted: ['alpha', 'beta'] })
    for (let n = 4; n <= 5; n++) await after.publish('k', n)
    await system.confirmed(3)
    t.same(
      (await system.effects('beta')).map(({ n }) => n),
      [1, 2, 3, 4, 5],
    )
  })

  t.test('what was not delivered when a process ended is delivered when one starts', async (t) => {
    const system = await start(t)
    const first = await system.host()
    await first.publish('k', 1)
    await system.confirmed(2)
    await first.close()
    const closed = await system.build()
    for (let n = 2; n <= 20; n++) await closed.publish('k', n)
    await closed.close()
    await system.host()
    await system.confirmed(40)
    t.equal((await system.effects('beta')).length, 20)
    t.equal((await system.effects('gamma')).length, 20)
  })

  t.test('a process that ends lets its handlers finish and confirms them', async (t) => {
    const system = await start(t)
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const host = await system.host({
      hosted: ['beta'],
      effects: {
        beta: async (event, handling) => {
          begin()
          await handling.tx.execute('select pg_sleep(0.3)')
          await writeEffect(event, handling)
        },
      },
    })
    const publisher = await system.host({ hosted: ['alpha'] })
    await publisher.publish('k', 1)
    await begun
    await host.close()
    t.equal((await system.effects('beta')).length, 1)
    await system.confirmed(1)
    t.equal((await system.deliveries())[0]!.attempts, 1, 'by the first delivery')
  })

  t.test('an event for a module that runs nowhere waits, and arrives when it is started', async (t) => {
    const system = await start(t)
    const host = await system.host({ hosted: ['alpha', 'beta'] })
    await host.publish('k', 1)
    await system.confirmed(1)
    await until('its delivery to the queue', async () =>
      (await system.deliveries()).every(({ attempts }) => attempts === 1),
    )
    await system.passDeadline()
    await until('the second one', async () => (await system.deliveries()).some(({ attempts }) => attempts === 2))
    const late = await system.host({ hosted: ['gamma'] })
    await system.confirmed(2)
    t.equal((await system.effects('gamma')).length, 1)
    await late.close()
  })

  t.test('a handler knows the request in whose course its event was published', async (t) => {
    const system = await start(t)
    const seen: (RequestContext | undefined)[] = []
    const host = await system.host({
      hosted: ['alpha', 'beta'],
      effects: { beta: async () => void seen.push(RequestContext.current()) },
    })
    const context = new RequestContext({ requestId: 'r-1', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` })
    await context.run(() => host.publish('k', 1))
    context.end()
    // Those that come together share a shorter one.
    await until('the first', () => seen.length === 1)
    await host.publish('k', 2)
    await until('both', () => seen.length === 2)
    const [first, second] = seen[0]!.requestId === 'r-1' ? seen : seen.toReversed()
    t.equal(first!.requestId, 'r-1')
    t.equal(first!.traceparent, context.traceparent)
    t.not(second!.requestId, 'r-1')
    t.ok(first!.deadline - performance.now() > 20_000, 'with a deadline of its own')
  })

  t.test('the queue keeps nothing of what has been handled', async (t) => {
    const system = await start(t)
    const host = await system.host()
    await Promise.all(Array.from({ length: 50 }, (_, n) => host.publish(`k${n}`, n)))
    await system.confirmed(100)
    if (queue === 'postgres')
      await until('an empty queue', async () => (await system.sql`select from bullmq.job`).length === 0)
    else {
      const { Redis } = await import('ioredis')
      const redis = new Redis(system.redisUrl!)
      t.teardown(() => redis.disconnect())
      const jobs = async () => (await redis.keys('{seam}:*')).filter((key) => /:[0-9a-f]{8}-[0-9a-f-]+$/.test(key))
      await until('an empty queue', async () => (await jobs()).length === 0)
    }
    t.pass('no job is left')
  })
}

function logTo(lines: string[]): FastifyBaseLogger {
  return pino({ level: 'warn' }, { write: (line) => void lines.push(line) })
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}
