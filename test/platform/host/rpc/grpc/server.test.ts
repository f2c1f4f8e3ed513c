import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type IncomingHttpHeaders } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, credentials, loadPackageDefinition, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { load } from '@grpc/proto-loader'
import { createSigner } from 'fast-jwt'
import pino from 'pino'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { buildApp } from '../../../../../src/app.ts'
import { readConfig } from '../../../../../src/config.ts'
import { keyFor, systemTokens } from '../../../../../src/platform/host/identity/tokens.ts'
import { CallStatistics } from '../../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../../src/platform/host/rpc/client.ts'
import { GRPC_OFFSET } from '../../../../../src/platform/host/rpc/grpc/address.ts'
import { protoOf } from '../../../../../src/platform/host/rpc/grpc/proto.ts'
import { GrpcServer } from '../../../../../src/platform/host/rpc/grpc/server.ts'
import { serviceOf } from '../../../../../src/platform/host/rpc/grpc/service.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { MAX_OUTPUT } from '../../../../../src/platform/host/rpc/wire.ts'
import type { CallContext } from '../../../../../src/platform/kit/call-context.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import { CallFailed, DeadlineExceeded, type SeamError, Unavailable } from '../../../../../src/platform/kit/errors.ts'
import { defineModule, definePlugin } from '../../../../../src/platform/kit/module.ts'
import { freePorts } from '../../../../support/ports.ts'
import { freshState } from '../../../../support/topology.ts'
import { remoteTo } from '../remote.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const tokens = systemTokens(SECRET)
const log = pino({ level: 'silent' })

const shelves = defineContract('grpc-shelves', {
  errors: {
    NotThere: { status: 404, message: 'There is no such book.' },
    Taken: { status: 409, message: 'Somebody has it: ü.', details: Type.Object({ by: Type.String() }) },
  },
  procedures: {
    find: query({
      input: Type.Object({ id: Type.String({ maxLength: 2_000_000 }) }),
      output: Type.Object({ id: Type.String(), writtenBy: Type.Optional(Type.Array(Type.String())) }),
      throws: ['NotThere', 'Taken'],
    }),
  },
})
const reader = defineContract('grpc-reader', {})
const passerby = defineContract('grpc-passerby', {})

type Find = (input: { id: string }, context: CallContext) => unknown
let handled = 0
let find: Find = ({ id }) => ({ id })
const shelvesModule = defineModule(shelves, {
  plugin: async () => ({
    default: definePlugin<typeof shelves>((app) =>
      app.implement({
        find: (input, context) => {
          handled++
          return find(input, context) as { id: string }
        },
      }),
    ),
  }),
})
const nothing = async () => ({ default: () => {} })
const catalogue = [
  shelvesModule,
  defineModule(reader, {
    uses: [shelves],
    plugin: async () => ({
      default: definePlugin<typeof reader>((app) => {
        const client = app.call(shelves)
        app.task({
          name: 'ask',
          usage: '<id>',
          summary: 'Asks.',
          run: async ([id = '']) => (await client.find({ id })).id,
        })
      }),
    }),
  }),
  defineModule(passerby, { plugin: nothing }),
]

const state = await freshState('postgres')
t.teardown(() => state.close())
const [PORT, OPS_PORT] = await freePorts(2, GRPC_OFFSET)
const config = readConfig(
  { ...state.env, NODE_ENV: 'test', SECRET, RPC: 'grpc', PORT: String(PORT), OPS_PORT: String(OPS_PORT) },
  catalogue,
)
const app = await buildApp(config, log)
const urls = await app.listen()
t.teardown(() => app.close())

/** A client as anybody would write it, from the text of the .proto file. */
async function plainClient(t: Test, address: string): Promise<Client & Record<string, any>> {
  const folder = await mkdtemp(join(tmpdir(), 'seam-proto-'))
  await writeFile(join(folder, 'shelves.proto'), protoOf(shelves))
  const { seam } = loadPackageDefinition(await load(join(folder, 'shelves.proto'))) as any
  await rm(folder, { recursive: true })
  const client = new seam.grpc_shelves.GrpcShelvesService(address, credentials.createInsecure())
  t.teardown(() => client.close())
  return client
}

type Outcome = { answer?: any; error?: ServiceError }

const ask = (client: Record<string, any>, input: object, metadata: Metadata, options: object = {}): Promise<Outcome> =>
  new Promise((resolve) =>
    client.find(input, metadata, options, (error: ServiceError | null, answer: unknown) =>
      resolve(error ? { error } : { answer }),
    ),
  )

const service = (options: {
  secret?: string
  audience?: string
  caller?: string
  expiresAt?: number
  purpose?: string
}) =>
  createSigner({ key: keyFor(options.secret ?? SECRET, options.purpose ?? 'service token'), algorithm: 'HS256' })({
    aud: options.audience ?? 'grpc-shelves',
    exp: options.expiresAt ?? Math.floor(Date.now() / 1000) + 60,
    claims: { caller: options.caller ?? 'grpc-reader' },
  })

const valid = { 'x-seam-service': service({}) }
const metadataOf = (headers: Record<string, string>) => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

t.test('gRPC is served 2000 ports above HTTP, and the person who started it is told', async (t) => {
  t.equal(urls.grpc, `127.0.0.1:${PORT! + GRPC_OFFSET}`)
})

t.test('a plain client made from the printed .proto calls it', async (t) => {
  const client = await plainClient(t, urls.grpc!)
  find = ({ id }) => ({ id, writtenBy: ['Ada'] })
  const { answer } = await ask(client, { id: '1' }, metadataOf(valid))
  t.match(answer, { id: '1', writtenBy: { items: ['Ada'] } })
  find = ({ id }) => ({ id })
  t.equal((await ask(client, { id: '2' }, metadataOf(valid))).answer.id, '2')
})

t.test('it gets errors of the contract as a status, and all of them in the metadata', async (t) => {
  const client = await plainClient(t, urls.grpc!)
  find = ({ id }) => {
    throw id === '1' ? new shelves.errors.NotThere() : new shelves.errors.Taken({ by: 'Żaneta' })
  }
  const jsonOf = (error: ServiceError) => JSON.parse(String(error.metadata.get('seam-error-bin')[0]))
  const { error: notThere } = await ask(client, { id: '1' }, metadataOf(valid))
  t.match(notThere, { code: status.NOT_FOUND, details: 'There is no such book.' })
  t.strictSame(jsonOf(notThere!), { module: 'grpc-shelves', code: 'NotThere', message: 'There is no such book.' })
  const { error: taken } = await ask(client, { id: '2' }, metadataOf(valid))
  t.match(taken, { code: status.ALREADY_EXISTS, details: 'Somebody has it: ü.' })
  t.strictSame(jsonOf(taken!).details, { by: 'Żaneta' })
  const { error: wrong } = await ask(client, {}, metadataOf(valid))
  t.equal(wrong!.code, status.INVALID_ARGUMENT)
  t.strictSame(jsonOf(wrong!).details.errors, [{ path: '/id', message: 'is missing' }])
  find = () => {
    throw new Error('hunter2')
  }
  const { error: failed } = await ask(client, { id: '1' }, metadataOf(valid))
  t.match(failed, { code: status.INTERNAL, details: 'grpc-shelves.find failed.' })
})

t.test('its deadline is the one of the work, which ends with it, or when it cancels', async (t) => {
  const client = await plainClient(t, urls.grpc!)
  const aborted: Promise<number>[] = []
  const left: number[] = []
  const begun = Promise.withResolvers<void>()
  find = (_input, { signal, deadline }) => {
    left.push(deadline - performance.now())
    aborted.push(once(signal, 'abort').then(() => performance.now()))
    begun.resolve()
    return new Promise(() => {})
  }
  const { error } = await ask(client, { id: '1' }, metadataOf(valid), { deadline: Date.now() + 200 })
  t.equal(error!.code, status.DEADLINE_EXCEEDED)
  t.ok(left[0]! > 0 && left[0]! <= 201, `${left[0]} ms left`)
  await aborted[0]

  const whenever = Promise.withResolvers<void>()
  find = (_input, context) => {
    left.push(context.deadline - performance.now())
    aborted.push(once(context.signal, 'abort').then(() => performance.now()))
    whenever.resolve()
    return new Promise(() => {})
  }
  const call = client.find({ id: '1' }, metadataOf(valid), () => {})
  await whenever.promise
  t.ok(left[1]! > 9_000 && left[1]! <= 10_000, 'without a deadline it is 10 s')
  const cancelledAt = performance.now()
  call.cancel()
  t.ok((await aborted[1]!) - cancelledAt < 1_000)
})

const REAL = '/seam.grpc_shelves.GrpcShelvesService/Find'
const UNKNOWN = '/seam.grpc_shelves.GrpcShelvesService/Fund'
const HEALTH = '/seam.grpc_shelves.GrpcShelvesService/$health'

const refused: Record<string, Record<string, string | string[]>> = {
  'no token': {},
  'an empty token': { 'x-seam-service': '' },
  garbage: { 'x-seam-service': 'x.y.z' },
  'a token of another system': {
    'x-seam-service': service({ secret: 'another secret, also of more than enough length' }),
  },
  'an expired token': { 'x-seam-service': service({ expiresAt: Math.floor(Date.now() / 1000) - 60 }) },
  'a token for another module': { 'x-seam-service': service({ audience: 'grpc-reader' }) },
  'a token made for another purpose': { 'x-seam-service': service({ purpose: 'identity token' }) },
  'the token of a module that does not name this one': { 'x-seam-service': service({ caller: 'grpc-passerby' }) },
  'the token of the platform, which may ask for health only': { 'x-seam-service': service({ caller: 'seam' }) },
  'a bearer token of a user': {
    authorization: `Bearer ${tokens.user.sign('api', { userId: '01890000-0000-7000-8000-000000000001', sessionId: '01890000-0000-7000-8000-00000000005e' })}`,
  },
  'an identity, and nothing else': { 'x-seam-identity': tokens.identity.sign('grpc-shelves', { identity: null }) },
  'a forged identity beside a good token': { ...valid, 'x-seam-identity': 'x.y.z' },
  'no token, and a timeout that is none': { 'grpc-timeout': 'soon' },
}

/** All of an answer but the path that it repeats. */
async function seen(path: string, headers: IncomingHttpHeaders, body: Buffer) {
  const session = connect(`http://${urls.grpc}`)
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    stream.on('error', () => {})
    const trailers: IncomingHttpHeaders[] = []
    stream.on('trailers', (more) => trailers.push(more))
    stream.end(body)
    const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders]
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    const { date: _date, ...kept } = answer
    const text = JSON.stringify([kept, trailers]).replace(path, '<path>')
    return { text, body: Buffer.concat(chunks).toString('hex') }
  } finally {
    session.destroy()
  }
}

/** A message as it is framed: not compressed, and its length. */
const framed = (message: Buffer) => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

t.test('no method exists for anyone without a valid token', async (t) => {
  const good = framed(serviceOf(shelves).methods.find!.request.encode('{"id":"1"}'))
  handled = 0
  for (const [who, headers] of Object.entries(refused)) {
    for (const body of [good, Buffer.from('no message'), Buffer.alloc(0)]) {
      const real = await seen(REAL, headers as IncomingHttpHeaders, body)
      t.match(real.text, '"grpc-status":"12"', who)
      t.strictSame(
        real,
        await seen(UNKNOWN, headers as IncomingHttpHeaders, body),
        `${who}: as for one that is not there`,
      )
    }
  }
  t.equal(handled, 0)
  find = ({ id }) => ({ id })
  t.match((await seen(REAL, valid, good)).text, '"grpc-status":"0"')
  t.equal(handled, 1)
})

t.test('the platform may ask for health, and modules may not', async (t) => {
  const nothing = framed(Buffer.alloc(0))
  t.match((await seen(HEALTH, { 'x-seam-service': service({ caller: 'seam' }) }, nothing)).text, '"grpc-status":"0"')
  t.match((await seen(HEALTH, valid, nothing)).text, '"grpc-status":"12"')
})

t.test('requests that are none are told so, and nothing crashes', async (t) => {
  const client = await plainClient(t, urls.grpc!)
  handled = 0
  const garbage = await seen(REAL, valid, framed(Buffer.from('hello')))
  t.match(garbage.text, '"grpc-status":"3"')
  const huge = await ask(client, { id: 'x'.repeat(5 * 1024 * 1024) }, metadataOf(valid))
  t.equal(huge.error!.code, status.RESOURCE_EXHAUSTED)
  t.match(
    (await seen(REAL, valid, Buffer.concat([framed(Buffer.alloc(0)), framed(Buffer.alloc(0))]))).text,
    '"grpc-status"',
  )
  t.match((await seen(REAL, { ...valid, 'grpc-timeout': 'soon' }, framed(Buffer.alloc(0)))).text, '"grpc-status"')
  t.match((await seen(REAL, { ...valid, 'content-type': 'text/plain' }, Buffer.alloc(0))).text, '":status":415')
  t.equal(handled, 0)
  t.equal((await ask(client, { id: '3' }, metadataOf(valid))).answer.id, '3')
})

t.test('a module in another process calls it by gRPC and by nothing else', async (t) => {
  const env = { ...state.env, NODE_ENV: 'test', SECRET, RPC: 'grpc' }
  const nobody = 'http://127.0.0.1:1'
  const RPC_PORT = String(PORT! + GRPC_OFFSET)
  const elsewhere = readConfig({ ...env, MODULES: 'grpc-reader', GRPC_SHELVES_URL: nobody, RPC_PORT }, catalogue)
  const caller = await buildApp(elsewhere, log)
  t.teardown(() => caller.close())
  find = ({ id }) => ({ id: `${id}, found` })
  t.equal(await caller.tasks.find(({ name }) => name === 'ask')!.run(['7']), '7, found')
})

t.test('HTTP goes on beside it, for processes that do not know of gRPC yet', async (t) => {
  find = ({ id }) => ({ id })
  const { adapter, close } = remoteTo('grpc-shelves', [urls.api], { tokens })
  t.teardown(close)
  const statistics = new CallStatistics(new Registry())
  const client = createClient(shelves, { caller: 'grpc-reader', adapter, strict: false, statistics })
  t.strictSame(await client.find({ id: '1' }), { id: '1' })
})

t.test('a port that is in use is named, with its variable', async (t) => {
  const [other, ops] = await freePorts(2, GRPC_OFFSET)
  const second = await buildApp({ ...config, port: other!, opsPort: ops!, rpcPort: PORT! + GRPC_OFFSET }, log)
  await t.rejects(second.listen(), /RPC_PORT=\d+/)
})

/** A server of its own, and a client as other modules are. */
async function serve(t: Test, handler: Find) {
  const procedures = new Procedures({ strict: false, log })
  procedures.implement(shelves, { find: handler as never })
  const server = new GrpcServer({ procedures, tokens })
  server.serve({ contract: shelves, mayCall: () => true })
  const rpcPort = await server.listen('127.0.0.1', 0)
  const { adapter, close } = remoteTo('grpc-shelves', ['http://127.0.0.1'], { tokens, rpcPort })
  t.teardown(async () => {
    await close()
    await server.close(100)
  })
  const statistics = new CallStatistics(new Registry())
  return { server, client: createClient(shelves, { caller: 'grpc-reader', adapter, strict: false, statistics }) }
}

const errorOf = async (call: Promise<unknown>): Promise<SeamError<any>> => {
  try {
    await call
  } catch (error) {
    return error as SeamError
  }
  throw new Error('The call was expected to fail, and did not.')
}

t.test('an error arrives whole, however large it is', async (t) => {
  for (const length of [10, 6_000, 60_000, 3_000_000]) {
    const by = 'ü'.repeat(length)
    const { client } = await serve(t, () => {
      throw new shelves.errors.Taken({ by })
    })
    const error = await errorOf(client.find({ id: '1' }))
    t.equal(error.constructor, shelves.errors.Taken)
    t.ok(error.details.by === by, `${length} letters`)
  }
})

t.test('a result that is too large or that JSON cannot say is a failed call', async (t) => {
  for (const result of [{ id: 'x'.repeat(MAX_OUTPUT) }, { id: 'ü'.repeat(MAX_OUTPUT / 2) }, undefined, {}]) {
    const { client } = await serve(t, () => result)
    t.equal((await errorOf(client.find({ id: '1' }))).constructor, CallFailed)
  }
})

t.test('text with half of a surrogate pair goes through', async (t) => {
  const { client } = await serve(t, ({ id }) => ({ id, writtenBy: [id] }))
  t.strictSame(await client.find({ id: '\ud800' }), { id: '\ud800', writtenBy: ['\ud800'] })
})

t.test('a server that closes lets calls end, but not for ever, and takes no more', async (t) => {
  const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const go = Promise.withResolvers<void>()
  const { server, client } = await serve(t, async ({ id }) => {
    begun[Number(id)]!.resolve()
    if (id === '1') return new Promise(() => {})
    await go.promise
    return { id }
  })
  const calls = [client.find({ id: '0' }), errorOf(client.find({ id: '1' }))]
  await Promise.all(begun.map(({ promise }) => promise))
  const started = performance.now()
  const closed = server.close(500)
  t.equal((await errorOf(client.find({ id: '2' }))).constructor, Unavailable, 'no more')
  go.resolve()
  t.strictSame(await calls[0], { id: '0' }, 'what was under way is answered')
  await closed
  t.ok(performance.now() - started < 2_000)
  const cut = await calls[1]
  t.equal(cut!.constructor, Unavailable, 'and cut off when it takes too long')
  await server.close(500)
})

t.test('calls that have hardly any time are late, and nothing else', async (t) => {
  const { client } = await serve(t, () => sleep(5_000))
  const calls = Array.from({ length: 20 }, () => errorOf(client.find({ id: '1' }, { timeout: 1 })))
  for (const error of await Promise.all(calls)) t.equal(error.constructor, DeadlineExceeded)
})
