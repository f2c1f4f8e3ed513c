// Instances of a module are replaced one after the other, while they are being asked.
import pino from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { type App, buildApp } from '../../../src/app.ts'
import { readConfig } from '../../../src/config.ts'
import { defineContract, query } from '../../../src/platform/kit/contract.ts'
import { sql } from '../../../src/platform/kit/tables.ts'
import { freePorts } from '../../support/ports.ts'
import { freshState } from '../../support/topology.ts'
import { until } from '../../support/until.ts'
import { moduleOf } from './boot.ts'

t.setTimeout(240_000)

const away = defineContract('away', {
  routes: ['/api/away'],
  procedures: { find: query({ input: Type.Object({}), output: Type.Object({ pid: Type.String() }) }) },
})
const here = defineContract('here', { routes: ['/api/here'] })

t.test('while two instances are restarted in turn, no request fails, and one that stops is not asked', async (t) => {
  const state = await freshState('postgres')
  const asked = new Map<string, number>()
  const catalogue = (name: string) => [
    moduleOf(away, async (app) => {
      const answer = async () => {
        asked.set(name, (asked.get(name) ?? 0) + 1)
        await app.db.execute(sql`select 1`)
        return { pid: name }
      }
      app.implement({ find: answer })
      app.get('/api/away', { config: { allow: 'anyone' } }, answer)
      app.post('/api/away', { config: { allow: 'anyone' } }, answer)
    }),
    moduleOf(
      here,
      async (app) => {
        const { find } = app.call(away)
        app.get('/api/here', { config: { allow: 'anyone' } }, async () => ({ data: await find({}) }))
      },
      { uses: [away] },
    ),
  ]
  const [edge, one, other] = await freePorts(3)
  const urls = { AWAY_URL: `http://127.0.0.1:${one},http://127.0.0.1:${other}`, HERE_URL: `http://127.0.0.1:${edge}` }
  const defaults = {
    // Where connections have a second to end; elsewhere they have a tenth, which a slow machine may miss.
    NODE_ENV: 'production',
    LOG_LEVEL: 'silent',
    OPS_PORT: '0',
    SECRET: 'x'.repeat(32),
    RATE_LIMIT: '1000000',
  }
  const start = async (name: string, port: number, modules: string) => {
    const env = {
      ...defaults,
      ...state.env,
      ...urls,
      PORT: String(port),
      MODULES: modules,
      EDGE: String(name === 'edge'),
    }
    const config = readConfig(env, catalogue(name))
    const app = await buildApp(config, pino({ level: 'silent' }))
    await app.listen()
    return app
  }
  const apps = new Map<string, App>()
  apps.set('one', await start('one', one!, 'away'))
  apps.set('other', await start('other', other!, 'away'))
  apps.set('edge', await start('edge', edge!, 'here'))
  t.teardown(async () => {
    await Promise.all([...apps.values()].map((app) => app.close()))
    await state.close()
  })

  let over = false
  const failed: string[] = []
  let answered = 0
  const ask = async (method: string, path: string) => {
    while (!over) {
      const answer = await fetch(`http://127.0.0.1:${edge}${path}`, { method })
      const text = await answer.text()
      if (answer.status === 200) answered++
      else failed.push(`${method} ${path}: ${text}`)
    }
  }
  const asking = ['here', 'here', 'away', 'away'].map((module) => ask('GET', `/api/${module}`))
  asking.push(ask('POST', '/api/away'), ask('POST', '/api/away'))
  for (const [name, port] of [
    ['one', one],
    ['other', other],
  ] as const) {
    await until(`${name} is asked`, () => (asked.get(name) ?? 0) > 20)
    const app = apps.get(name)!
    const closed = app.close()
    t.equal((await app.ops.inject('/readyz')).statusCode, 503, 'it is not ready any more')
    await until('it drains', () => app.api.draining)
    const before = [asked.get(name)!, answered] as const
    await closed
    const [after, others] = [asked.get(name)! - before[0], answered - before[1]]
    t.ok(after <= 12 && others > after, `of ${others} requests while it stopped, it got ${after}`)
    asked.delete(name)
    apps.set(name, await start(name, port!, 'away'))
  }
  await until('both are asked again', () => asked.get('one') && asked.get('other'))
  over = true
  await Promise.all(asking)
  t.strictSame(failed, [], 'no request has failed')
})
