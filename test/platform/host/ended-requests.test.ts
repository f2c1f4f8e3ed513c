// What becomes of work in the database when its request has ended: its deadline has passed, or its caller has gone.
import { once } from 'node:events'
import { connect } from 'node:net'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { command, defineContract } from '../../../src/platform/kit/contract.ts'
import type { Database } from '../../../src/platform/kit/tables.ts'
import { sql } from '../../../src/platform/kit/tables.ts'
import { startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'
import { moduleOf } from './boot.ts'

const beds = defineContract('beds', {
  routes: ['/api/beds'],
  procedures: { sleep: command({ input: Type.Object({ alone: Type.Boolean() }), output: Type.Object({}) }) },
})
const doors = defineContract('doors', { routes: ['/api/doors'] })

/** Sleeps in PostgreSQL for longer than any test waits; in a transaction that has locked something, unless it is alone. */
async function sleep(db: Database, alone: boolean): Promise<object> {
  const pause = sql`select pg_sleep(9)`
  if (alone) await db.execute(pause)
  else
    await db.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(4711)`)
      await tx.execute(pause)
    })
  return {}
}

const catalogue = [
  moduleOf(beds, async (app) => {
    app.implement({ sleep: ({ alone }) => sleep(app.db, alone) })
    app.get('/api/beds/alone', { config: { allow: 'anyone' } }, () => sleep(app.db, true))
    app.get('/api/beds/shared', { config: { allow: 'anyone' } }, () => sleep(app.db, false))
    app.get('/api/beds/free', { config: { allow: 'anyone' } }, async () => {
      const awake = Array.from({ length: 20 }, () => app.db.execute(sql`select 1`))
      return { answered: (await Promise.all(awake)).length }
    })
  }),
  moduleOf(
    doors,
    async (app) => {
      const { sleep } = app.call(beds)
      const { allow } = { allow: 'anyone' } as const
      app.get('/api/doors/alone', { config: { allow } }, () => sleep({ alone: true }))
      app.get('/api/doors/shared', { config: { allow } }, () => sleep({ alone: false }))
      app.get('/api/doors/alone/briefly', { config: { allow } }, () => sleep({ alone: true }, { timeout: 300 }))
      app.get('/api/doors/shared/briefly', { config: { allow } }, () => sleep({ alone: false }, { timeout: 300 }))
    },
    { uses: [beds] },
  ),
]

t.setTimeout(240_000)

for (const [where, outside] of Object.entries({ 'in this process': [], 'in another process': ['beds'] })) {
  t.test(`work in the database, ${where}`, async (t) => {
    const topology = await startTopology({ catalogue, outside })
    const admin = postgres(topology.databaseUrl, { max: 1, onnotice: () => {} })
    t.teardown(async () => {
      await admin.end()
      await topology.close()
    })
    const sleeping = async () =>
      (
        await admin`select from pg_stat_activity where datname = current_database() and query like '%pg_sleep%' and state <> 'idle' and pid <> pg_backend_pid()`
      ).length
    /** The machine may do other things meanwhile, so the best of some times counts. */
    const soon = async (t: Test, end: () => Promise<void>) => {
      const times: number[] = []
      do {
        await end()
        const ended = performance.now()
        await until('nothing sleeps', async () => (await sleeping()) === 0, 5_000)
        times.push(Math.round(performance.now() - ended))
      } while (Math.min(...times) > 200 && times.length < 4)
      t.ok(Math.min(...times) <= 200, `after ${times} ms`)
    }
    const free = async (t: Test) => {
      const lock = async () => (await admin`select pg_try_advisory_lock(4711) as got`)[0]!.got
      t.ok(await until('its transaction has been rolled back', lock, 2_000))
      await admin`select pg_advisory_unlock(4711)`
      const answer = await fetch(`${topology.url}/api/beds/free`)
      t.strictSame(await answer.json(), { answered: 20 }, 'the connections go on')
    }

    for (const path of ['/api/doors/alone/briefly', '/api/doors/shared/briefly']) {
      t.test(`ends within 200 ms after the deadline: ${path}`, async (t) => {
        await soon(t, async () => {
          const answer = await fetch(topology.url + path)
          t.match(await answer.json(), { status: 503, code: 'DeadlineExceeded', module: 'beds' })
        })
        await free(t)
      })
    }

    for (const path of ['/api/beds/alone', '/api/beds/shared', '/api/doors/alone', '/api/doors/shared']) {
      t.test(`ends within 200 ms after the caller has gone: ${path}`, async (t) => {
        await soon(t, async () => {
          const sockets = Array.from({ length: 3 }, () => connect(Number(new URL(topology.url).port), '127.0.0.1'))
          for (const socket of sockets) socket.write(`GET ${path} HTTP/1.1\r\nhost: here\r\n\r\n`)
          await until('something sleeps', async () => (await sleeping()) > 0)
          for (const socket of sockets) socket.destroy()
          await Promise.all(sockets.map((socket) => once(socket, 'close')))
        })
        await free(t)
      })
    }
  })
}
