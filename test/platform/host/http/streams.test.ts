// Answers at the deadline: streams of events go on, all others end, and no process with them. The deadline is what another
// process of the system says that it waits.

import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { brotliDecompressSync } from 'node:zlib'
import pino from 'pino'
import t from 'tap'
import { Agent, request } from 'undici'
import { createServer } from '../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../src/platform/host/identity/tokens.ts'
import { RequestContext } from '../../../../src/platform/host/request-context.ts'
import { defineContract } from '../../../../src/platform/kit/contract.ts'
import { until } from '../../../support/until.ts'
import { bootWith, moduleOf } from '../boot.ts'

t.setTimeout(240_000)
const SECRET = 'a secret that only these tests know, of enough length'
const DEADLINE = 150
const { build } = await bootWith(t)
const radio = defineContract('streams-radio', { routes: ['/api/radio'] })

/** What the routes below have begun, and what they do next is for the tests to say. */
let stream: PassThrough
let aborted = false

const events = { config: { allow: 'anyone', stream: true } } as const
const anyone = { config: { allow: 'anyone' } } as const
const module = moduleOf(radio, (app) => {
  const begin = (first: string) => {
    stream = new PassThrough()
    stream.write(first)
    return stream
  }
  app.get('/api/radio/events', events, (_request, reply) => reply.type('text/event-stream').send(begin('data: 1\n\n')))
  app.get('/api/radio/json', anyone, (_request, reply) => reply.type('application/json').send(begin('[1')))
  app.get('/api/radio/never', anyone, (request) => {
    aborted = false
    request.context.signal.addEventListener('abort', () => {
      aborted = true
    })
    return new Promise(() => {})
  })
})

const alone = await build(t, [module], { SECRET })
const inside = await build(t, [module], { SECRET, EDGE: 'false' })
const { api: STREAMS_RADIO_URL } = await inside.listen()
const gateway = await build(t, [module], { SECRET, MODULES: 'none', STREAMS_RADIO_URL })
const places = { 'in one process': (await alone.listen()).api, 'through a gateway': (await gateway.listen()).api }

const agent = new Agent({ pipelining: 1 })
t.teardown(() => agent.destroy())
const word = systemTokens(SECRET).identity.sign(radio.name, { identity: null })
const ask = (base: string, name: string) =>
  request(`${base}/api/radio/${name}`, {
    dispatcher: agent,
    headers: { 'x-seam-identity': word, 'x-seam-timeout': String(DEADLINE), 'accept-encoding': 'br, gzip' },
  })

for (const [place, base] of Object.entries(places)) {
  t.test(`a stream of events goes on after the deadline, as it is written: ${place}`, async (t) => {
    const { statusCode, headers, body } = await ask(base, 'events')
    t.match([statusCode, headers['content-type'], headers['content-encoding']], [200, 'text/event-stream', undefined])
    const chunks = body[Symbol.asyncIterator]()
    const next = async () => String((await chunks.next()).value)
    t.equal(await next(), 'data: 1\n\n')
    await sleep(2 * DEADLINE)
    stream.write(`data: ${'2'.repeat(5_000)}\n\n`)
    let text = ''
    while (!text.endsWith('\n\n')) text += await next()
    t.equal(text, `data: ${'2'.repeat(5_000)}\n\n`)
    stream.end()
    t.equal((await chunks.next()).done, true)
  })

  t.test(`a stream ends when its reader goes away: ${place}`, async (t) => {
    const { body } = await ask(base, 'events')
    const closed = new Promise((resolve) => stream.once('close', resolve))
    body.on('error', () => {}).destroy()
    await closed
    t.equal(stream.destroyed, true)
  })

  t.test(`any other answer that has begun is cut off at the deadline: ${place}`, async (t) => {
    const { statusCode, body } = await ask(base, 'json')
    t.equal(statusCode, 200)
    await t.rejects(body.text())
  })

  t.test(`one that has not begun is answered for, and its work is told to end: ${place}`, async (t) => {
    const { statusCode, headers, body } = await ask(base, 'never')
    const problem = (await body.json()) as object
    t.match([statusCode, headers['retry-after'], problem], [503, '1', { code: 'DeadlineExceeded', module: radio.name }])
    await until('the end of its work', () => aborted)
  })
}

t.test('a deadline that passes while an answer is compressed changes nothing of it', async (t) => {
  const numbers = JSON.stringify(Array.from({ length: 500_000 }, () => Math.random()))
  const server = createServer({ log: pino({ level: 'silent' }), trustProxy: [] })
  t.teardown(() => server.close())
  server.addHook('onRequest', (request, _reply, done) => {
    request.context = new RequestContext({ timeout: 20 })
    done()
  })
  server.get('/numbers', anyone, async (_request, reply) => reply.type('application/json').send(numbers))
  const { statusCode, headers, body } = await request(`${await server.listen()}/numbers`, {
    dispatcher: agent,
    headers: { 'accept-encoding': 'br' },
  })
  t.match([statusCode, headers['content-encoding']], [200, 'br'])
  t.ok(brotliDecompressSync(Buffer.from(await body.arrayBuffer())).equals(Buffer.from(numbers)))
})
