import { Writable } from 'node:stream'
import pino from 'pino'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { buildApp } from '../../../../../src/app.ts'
import { readConfig } from '../../../../../src/config.ts'
import { type Client, command, defineContract } from '../../../../../src/platform/kit/contract.ts'
import { DeadlineExceeded, Unavailable } from '../../../../../src/platform/kit/errors.ts'
import { bootWith, moduleOf } from '../../boot.ts'

const bell = defineContract('bell', {
  procedures: { ring: command({ input: Type.Object({}), output: Type.Object({ rings: Type.Integer() }) }) },
})
const sexton = defineContract('sexton', {})

const { env, sql } = await bootWith(t)
await sql`select 1`

/** A bell, and who rings it, in one process. */
const open = async (t: Test, FAULTS: string) => {
  let rings = 0
  let client!: Client<typeof bell>
  const catalogue = [
    moduleOf(bell, (app) => app.implement({ ring: () => ({ rings: ++rings }) })),
    moduleOf(
      sexton,
      (app) => {
        client = app.call(bell)
      },
      { uses: [bell] },
    ),
  ]
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
  const defaults = { NODE_ENV: 'test', PORT: '0', OPS_PORT: '0', SECRET: 'x'.repeat(32) }
  const app = await buildApp(readConfig({ ...defaults, ...env, FAULTS, FAULTS_SEED: '42' }, catalogue), pino(stream))
  t.teardown(() => app.close())
  return { app, client, rings: () => rings, log: () => lines.join('') }
}

t.test('a call inside of a process can fail and be late', async (t) => {
  const failing = await open(t, 'bell.ring:error')
  await t.rejects(failing.client.ring({}), Unavailable)
  t.equal(failing.rings(), 0)
  const late = await open(t, 'bell:delay=60')
  const began = performance.now()
  await late.client.ring({})
  t.ok(performance.now() - began >= 59)
  await t.rejects(late.client.ring({}, { timeout: 20 }), DeadlineExceeded)
  t.equal(late.rings(), 1)
})

t.test('and cannot be lost, doubled or cut off', async (t) => {
  const { client, rings } = await open(t, '*:drop, *:drop-answer, *:duplicate, *:partial')
  for (let n = 1; n <= 5; n++) t.strictSame(await client.ring({}), { rings: n })
  t.equal(rings(), 5)
})

t.test('the log says that there are faults, and how to have them again; health has none', async (t) => {
  const { app, log } = await open(t, '*:error')
  const [line, ...more] = log()
    .split('\n')
    .filter((text) => text.includes('FAULTS'))
  t.match(JSON.parse(line!), { level: 40, faults: '*:error', seed: 42, msg: /FAULTS_SEED=42 repeats them/ })
  t.strictSame(more, [])
  const { statusCode, payload } = await app.api.inject('/api/health')
  t.equal(statusCode, 200, payload)
})
