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
import { serveProcedures } from '../../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import { defineModule, definePlugin } from '../../../../../src/platform/kit/module.ts'
import { freshState } from '../../../../support/topology.ts'

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

const REAL = '/_seam/rpc-shelves/find'
/** As long as the real one, so that even the length of the answer must be the same. */
const UNKNOWN = '/_seam/rpc-shelves/fund'

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
  'the token of the platform, which may ask for health only': { 'x-seam-service': service({ caller: 'seam' }) },
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
      'a good body': { headers: json, body: '{"id":"1"}' },
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
    const answer = await fetch(url + REAL, { method: 'POST', headers: { ...json, ...valid }, body: '{"id":"1"}' })
    t.equal(answer.status, 200)
    t.strictSame(await answer.json(), { id: '1' })
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

t.test('the platform may ask for health, and modules may not', async (t) => {
  const { url } = await start(t, {})
  const ask = async (caller: string) => {
    const headers = { 'content-type': 'application/json', 'x-seam-service': service({ caller }) }
    const answer = await fetch(`${url}/_seam/rpc-shelves/$health`, { method: 'POST', headers, body: '{}' })
    return answer.status
  }
  t.equal(await ask('seam'), 200)
  t.equal(await ask('rpc-reader'), 404)
})

t.test('a module with a valid token is told what is wrong with its request', async (t) => {
  const { url } = await start(t, {})
  const ask = async (body: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(url + REAL, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...valid, ...headers },
      body,
    })
    return { status: answer.status, body: (await answer.json()) as any }
  }
  const wrong = await ask('{"id":1,"more":2}')
  t.equal(wrong.status, 400)
  t.match(wrong.body, { module: 'rpc-shelves', code: 'BadInput' })
  t.strictSame(wrong.body.details.errors.map(({ path }: { path: string }) => path).sort(), ['/id', '/more'])
  t.equal((await ask('{"id')).status, 400)
  t.equal((await ask('')).status, 400)
  t.equal((await ask(`{"id":"${'x'.repeat(1024 * 1024)}"}`)).status, 413)
  t.equal((await ask('a,b', { 'content-type': 'text/csv' })).status, 415)
  for (const timeout of ['0', '-5', 'soon', 'NaN', '1e9', ' ', '50000'])
    t.equal((await ask('{"id":"1"}', { 'x-seam-timeout': timeout })).status, 200, `a timeout of "${timeout}"`)
})

t.test('a result that JSON cannot say is an answer too, not silence', async (t) => {
  for (const strict of [true, false]) {
    const log = pino({ level: 'silent' })
    const procedures = new Procedures({ strict, log })
    const server = createServer({ log, trustProxy: true })
    const results = [undefined, () => {}, 1n]
    procedures.implement(shelves, { find: () => ({ id: '1' }), any: () => results.shift() })
    serveProcedures(server, shelves, { procedures, tokens, mayCall: () => true })
    t.teardown(() => server.close())
    for (const _ of [1, 2, 3]) {
      const answer = await server.inject({ method: 'POST', url: '/_seam/rpc-shelves/any', headers: valid, payload: {} })
      t.equal(answer.statusCode, 500)
      t.equal(answer.json().code, strict ? 'Divergence' : 'CallFailed')
    }
  }
})
