import { once } from 'node:events'
import { connect } from 'node:net'
import { createSigner } from 'fast-jwt'
import pino from 'pino'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { buildApp } from '../../../../../src/app.ts'
import { readConfig } from '../../../../../src/config.ts'
import { createServer } from '../../../../../src/platform/host/http/server.ts'
import { keyFor, systemTokens } from '../../../../../src/platform/host/identity/tokens.ts'
import { BATCH_TYPE, callLine, type ReceivedCall } from '../../../../../src/platform/host/rpc/http/lines-of-calls.ts'
import { serveProcedures } from '../../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { MAX_OUTPUT } from '../../../../../src/platform/host/rpc/wire.ts'
import type { CallContext } from '../../../../../src/platform/kit/call-context.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import { defineModule, definePlugin } from '../../../../../src/platform/kit/module.ts'
import { freshState } from '../../../../support/topology.ts'
import { until } from '../../../../support/until.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const tokens = systemTokens(SECRET)

const shelves = defineContract('rpc-shelves', {
  procedures: {
    find: query({ input: Type.Object({ id: Type.String() }), output: Type.Object({ id: Type.String() }) }),
    any: query({ input: Type.Object({}), output: Type.Unknown() }),
  },
})
const reader = defineContract('rpc-reader', {})
const passerby = defineContract('rpc-passerby', {})

let handled = 0
const catalogue = [
  defineModule(shelves, {
    plugin: async () => ({
      default: definePlugin<typeof shelves>((app) =>
        app.implement({
          find: ({ id }) => {
            handled++
            return { id }
          },
          any: () => null,
        }),
      ),
    }),
  }),
  defineModule(reader, { uses: [shelves], plugin: async () => ({ default: definePlugin<typeof reader>(() => {}) }) }),
  defineModule(passerby, { plugin: async () => ({ default: definePlugin<typeof passerby>(() => {}) }) }),
]

const REAL = '/_seam/rpc-shelves'
/** As long as the real one, so that even the length of the answer must be the same. */
const UNKNOWN = '/_seam/rpc-shalves'

const state = await freshState('postgres')
t.teardown(() => state.close())

async function start(t: Test, env: Record<string, string>) {
  const config = readConfig(
    { ...state.env, NODE_ENV: 'test', LOG_LEVEL: 'silent', PORT: '0', SECRET, ...env },
    catalogue,
  )
  const app = await buildApp(config, pino({ level: config.logLevel }))
  const url = await app.api.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return { app, url }
}

const service = (options: {
  secret?: string
  audience?: string
  caller?: string
  expiresAt?: number
  purpose?: string
}) =>
  createSigner({ key: keyFor(options.secret ?? SECRET, options.purpose ?? 'service token'), algorithm: 'HS256' })({
    aud: options.audience ?? 'rpc-shelves',
    exp: options.expiresAt ?? Math.floor(Date.now() / 1000) + 60,
    claims: { caller: options.caller ?? 'rpc-reader' },
  })

const valid = { 'x-seam-service': service({}) }
const batch = { 'content-type': BATCH_TYPE }
const line = (procedure: string, input: unknown, own: Partial<ReceivedCall> = {}) => {
  const call = { timeout: 5_000, requestId: 'r', traceparent: '', identity: null, idempotencyKey: null, ...own }
  return callLine({ procedure, ...call }, JSON.stringify(input))
}
const find = (input: unknown) => line('find', input)
const refused: Record<string, Record<string, string>> = {
  'no token': {},
  'an empty token': { 'x-seam-service': '' },
  garbage: { 'x-seam-service': 'x.y.z' },
  'a token of another system': {
    'x-seam-service': service({ secret: 'another secret, also of more than enough length' }),
  },
  'an expired token': { 'x-seam-service': service({ expiresAt: Math.floor(Date.now() / 1000) - 60 }) },
  'a token for another module': { 'x-seam-service': service({ audience: 'rpc-reader' }) },
  'a token made for another purpose': { 'x-seam-service': service({ purpose: 'identity token' }) },
  'the token of a module that does not name this one': { 'x-seam-service': service({ caller: 'rpc-passerby' }) },
  'the token of no module': { 'x-seam-service': service({ caller: 'nobody' }) },
  'a bearer token of a user': {
    authorization: `Bearer ${tokens.user.sign('api', { userId: '01890000-0000-7000-8000-000000000001', sessionId: '01890000-0000-7000-8000-00000000005e' })}`,
  },
  'a bearer token that is none': { authorization: 'Bearer x.y.z' },
  'an identity, and nothing else': { 'x-seam-identity': tokens.identity.sign('rpc-shelves', { identity: null }) },
}

/** All of an answer but what differs between any two: its time, its id, and the path that it repeats. */
async function seen(url: string, path: string, init: RequestInit) {
  const response = await fetch(url + path, init)
  const text = await response.text()
  const headers = Object.fromEntries(response.headers)
  for (const name of ['date', 'x-request-id']) {
    if (!headers[name]) throw new Error(`no ${name}`)
    delete headers[name]
  }
  const body = text ? JSON.parse(text) : undefined
  if (body) {
    if (body.instance !== path || !body.requestId) throw new Error(text)
    Object.assign(body, { instance: '', requestId: '' })
  }
  return { status: response.status, headers, body }
}

for (const EDGE of ['true', 'false']) {
  t.test(`with EDGE=${EDGE}, a procedure does not exist for anyone without a valid token`, async (t) => {
    const { url } = await start(t, { EDGE })
    const json = { 'content-type': 'application/json' }
    const bodies: Record<string, RequestInit> = {
      'a good body': { headers: batch, body: find({ id: '1' }) },
      'broken JSON': { headers: json, body: '{"id' },
      'a body of another type': { headers: { 'content-type': 'text/csv' }, body: 'a,b' },
      'two megabytes': { headers: json, body: 'x'.repeat(2 * 1024 * 1024) },
      'no body': {},
    }
    handled = 0
    for (const [who, headers] of Object.entries(refused)) {
      for (const [what, init] of Object.entries(bodies)) {
        const sent = { ...init, method: 'POST', headers: { ...init.headers, ...headers } }
        const real = await seen(url, REAL, sent)
        t.equal(real.status, 404, `${who}, ${what}`)
        t.strictSame(real, await seen(url, UNKNOWN, sent), `${who}, ${what}: as for a path that is not there`)
      }
    }
    t.equal(handled, 0)
    const sent = { method: 'POST', headers: { ...batch, ...valid }, body: find({ id: '1' }) }
    const answer = await fetch(url + REAL, sent)
    t.equal(answer.status, 200)
    t.equal(await answer.text(), '0 {"id":"1"}\n')
    t.equal(handled, 1)
  })

  t.test(`with EDGE=${EDGE}, other methods than POST find nothing, whoever asks`, async (t) => {
    const { url } = await start(t, { EDGE })
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      for (const headers of [{}, valid]) {
        const real = await seen(url, REAL, { method, headers })
        t.equal(real.status, 404, method)
        t.strictSame(real, await seen(url, UNKNOWN, { method, headers }), method)
      }
    }
  })
}

t.test('nothing of the body is waited for when the token is not good', async (t) => {
  const { url } = await start(t, {})
  for (const path of [REAL, UNKNOWN]) {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{`,
    )
    const [answer] = (await once(socket, 'data')) as [Buffer]
    t.match(answer.toString(), /^HTTP\/1\.1 404 /)
    socket.destroy()
  }
})

/** What a module with a valid token is answered. */
async function ask(url: string, body: string, headers: Record<string, string> = {}) {
  const answer = await fetch(url + REAL, { method: 'POST', headers: { ...batch, ...valid, ...headers }, body })
  const text = await answer.text()
  return { status: answer.status, text, lines: text.split('\n').slice(0, -1).sort() }
}

/** The error in an answer's line. */
const errorIn = (line: string) => JSON.parse(/^\d+!(.*)$/.exec(line)![1]!)

t.test('the platform may ask for health, and modules may not', async (t) => {
  const { url } = await start(t, {})
  const health = line('$health', {})
  t.strictSame((await ask(url, health, { 'x-seam-service': service({ caller: 'seam' }) })).lines, ['0 {}'])
  t.match(errorIn((await ask(url, health)).lines[0]!), { code: 'UnknownProcedure', module: 'rpc-shelves' })
  const other = await ask(url, find({ id: '1' }), { 'x-seam-service': service({ caller: 'seam' }) })
  t.match(
    errorIn(other.lines[0]!),
    { code: 'UnknownProcedure', module: 'rpc-shelves' },
    'and the platform asks for nothing else',
  )
})

t.test('each call of a batch gets an answer of its own', async (t) => {
  const { url } = await start(t, {})
  const calls = [
    find({ id: 'a' }),
    find({ id: 1, more: 2 }),
    line('fund', {}),
    line('find', { id: 'b' }, { identity: 'x.y.z' }),
    line('constructor', {}),
    find({ id: 'c' }),
  ]
  const { status, lines } = await ask(url, calls.join(''))
  t.equal(status, 200)
  t.equal(lines[0], '0 {"id":"a"}')
  const wrong = errorIn(lines[1]!)
  t.match(wrong, { module: 'rpc-shelves', code: 'BadInput' })
  t.strictSame(wrong.details.errors.map(({ path }: { path: string }) => path).sort(), ['/id', '/more'])
  for (const n of [2, 4]) t.match(errorIn(lines[n]!), { module: 'rpc-shelves', code: 'UnknownProcedure' })
  t.match(errorIn(lines[3]!), { module: 'rpc-shelves', code: 'Unavailable' })
  t.equal(lines[5], '5 {"id":"c"}')
})

t.test('what is no batch is refused as a whole', async (t) => {
  const { url } = await start(t, {})
  const good = find({ id: '1' })
  const broken: Record<string, string> = {
    nothing: '',
    'a line without an end': good.slice(0, -1),
    'an empty line': `${good}\n`,
    'half a line': good.slice(0, 20),
    'no list': '{"id":"1"}\n',
    'a list that is too short': '["find",1000]\n',
    'a procedure that is no text': '[1,1000,"r","t",null,null,{}]\n',
    'a time that is none': '["find","soon","r","t",null,null,{}]\n',
    'a time that is over': '["find",0,"r","t",null,null,{}]\n',
    'an identity that is no text': '["find",1000,"r","t",{},null,{}]\n',
    'more calls than 64': good.repeat(65),
  }
  handled = 0
  for (const [what, body] of Object.entries(broken)) t.equal((await ask(url, body)).status, 400, what)
  t.equal((await ask(url, `"${'x'.repeat(3 * 1024 * 1024)}"\n`)).status, 413)
  t.equal((await ask(url, good, { 'content-type': 'text/csv' })).status, 415)
  t.equal((await ask(url, good, { 'content-type': 'application/json' })).status, 415)
  t.equal(handled, 0)
  t.equal((await ask(url, good.repeat(64))).lines.length, 64)
})

t.test('who cancels nonsense cancels nothing', async (t) => {
  const { url } = await start(t, {})
  for (const input of [
    null,
    {},
    [],
    ['x', 0],
    [1, 2, 3],
    'text',
    [['x'], -1],
    [{}, 'y'],
    [{ toString: 1 }, 0],
    ['x', { valueOf: 1 }],
  ])
    t.strictSame((await ask(url, line('$cancel', input))).lines, ['0 null'])
})

t.test('a request id, a trace or a time that is no good is not believed', async (t) => {
  const { url } = await start(t, {})
  for (const own of [
    { requestId: '<script>' },
    { traceparent: 'x' },
    { timeout: 1e9 },
    { requestId: 'x'.repeat(5_000) },
  ])
    t.strictSame((await ask(url, line('find', { id: '1' }, own))).lines, ['0 {"id":"1"}'])
})

t.test('a result that JSON cannot say is an answer too, not silence', async (t) => {
  for (const strict of [true, false]) {
    const log = pino({ level: 'silent' })
    const procedures = new Procedures({ strict, log })
    const server = createServer({ log, trustProxy: true })
    const results = [undefined, () => {}, 1n]
    procedures.implement(shelves, { find: () => ({ id: '1' }), any: () => results.shift() })
    serveProcedures(server, shelves.name, [{ contract: shelves, mayCall: () => true }], { procedures, tokens })
    const url = await server.listen({ host: '127.0.0.1', port: 0 })
    t.teardown(() => server.close())
    for (const _ of [1, 2, 3]) {
      const { lines } = await ask(url, line('any', {}))
      t.equal(errorIn(lines[0]!).code, strict ? 'Divergence' : 'CallFailed')
    }
  }
})

t.test('a result that weighs more than 8 MiB, though it has fewer characters, fails that call alone', async (t) => {
  const log = pino({ level: 'silent' })
  const procedures = new Procedures({ strict: false, log })
  const server = createServer({ log, trustProxy: true })
  const results = ['ü'.repeat(MAX_OUTPUT / 2), 'ü'.repeat(MAX_OUTPUT / 2 - 1)]
  procedures.implement(shelves, { find: () => ({ id: '1' }), any: () => results.shift() })
  serveProcedures(server, shelves.name, [{ contract: shelves, mayCall: () => true }], { procedures, tokens })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => server.close())
  const { lines } = await ask(url, line('any', {}) + line('any', {}))
  const [tooLarge, whole] = lines.toSorted((a, b) => a.length - b.length)
  t.equal(errorIn(tooLarge!).code, 'CallFailed')
  t.equal(Buffer.byteLength(whole!), MAX_OUTPUT + 2)
})

t.test('when the connection is gone, what is done for its calls ends', async (t) => {
  const log = pino({ level: 'silent' })
  const procedures = new Procedures({ strict: true, log })
  const server = createServer({ log, trustProxy: true })
  const signals: AbortSignal[] = []
  const handler = (_input: unknown, { signal }: CallContext) => {
    signals.push(signal)
    return new Promise<never>(() => {})
  }
  procedures.implement(shelves, { find: handler, any: handler })
  serveProcedures(server, shelves.name, [{ contract: shelves, mayCall: () => true }], { procedures, tokens })
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => server.close())
  const gone = new AbortController()
  const request = {
    method: 'POST',
    headers: { ...batch, ...valid },
    body: find({ id: '1' }).repeat(3),
    signal: gone.signal,
  }
  const answer = fetch(url + REAL, request).catch(() => 'gone')
  await until('three calls', () => signals.length === 3)
  gone.abort()
  t.equal(await answer, 'gone')
  await until('the end of all three', () => signals.every(({ aborted }) => aborted), 1_000)
})
