import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  constants,
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { systemTokens } from '../../../../../src/platform/host/identity/tokens.ts'
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../../src/platform/host/rpc/client.ts'
import { GRPC_OFFSET, grpcTarget } from '../../../../../src/platform/host/rpc/grpc/address.ts'
import { LARGER } from '../../../../../src/platform/host/rpc/grpc/limits.ts'
import { serviceOf } from '../../../../../src/platform/host/rpc/grpc/service.ts'
import { NotSent } from '../../../../../src/platform/host/rpc/remote-call.ts'
import { MAX_OUTPUT } from '../../../../../src/platform/host/rpc/wire.ts'
import { command, defineContract } from '../../../../../src/platform/kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  type SeamError,
  Unavailable,
} from '../../../../../src/platform/kit/errors.ts'
import { until } from '../../../../support/until.ts'
import { remoteTo } from '../remote.ts'

// Deadlines and pauses keep no process alive; a listening server does in a real one.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

const tokens = systemTokens('a secret that only these tests know, of enough length')

const shop = defineContract('shop', {
  errors: {
    Closed: { status: 409, message: 'Closed.' },
    Gone: { status: 404, message: 'Gone.' },
    Lost: { status: 410, message: 'Lost.' },
    Barred: { status: 401, message: 'Barred.' },
    Full: { status: 503, message: 'Full.' },
  },
  procedures: {
    // A command, so that each call is sent once.
    price: command({
      input: Type.Object({ id: Type.String() }),
      output: Type.Object({ cents: Type.Integer(), note: Type.Optional(Type.Unknown()) }),
      throws: ['Closed', 'Gone', 'Lost', 'Barred', 'Full'],
    }),
  },
})
const { response } = serviceOf(shop).methods.price!

function clientOf(rpcPort: number, url = 'http://127.0.0.1') {
  const remote = remoteTo('shop', [url], { tokens, rpcPort })
  const statistics = new CallStatistics(new Registry())
  return {
    close: remote.close,
    client: createClient(shop, { caller: 'till', adapter: remote.adapter, strict: false, statistics }),
  }
}

const errorOf = async (call: Promise<unknown>): Promise<SeamError<any>> => {
  try {
    await call
  } catch (error) {
    return error as SeamError
  }
  throw new Error('The call was expected to fail, and did not.')
}

type Answer = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

/** A server of HTTP/2 that answers as it likes, and a client that believes it to be a shop. */
async function upstream(t: Test, answer: Answer) {
  const sockets = new Set<Socket>()
  const server = createHttp2Server()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('sessionError', () => {})
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    answer(stream as ServerHttp2Stream, headers)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { client, close } = clientOf((server.address() as AddressInfo).port)
  t.teardown(async () => {
    await close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { client, close, sockets }
}

const OK = { ':status': 200, 'content-type': 'application/grpc' }

/** A message as it is framed: a flag, its length, its bytes. */
function framed(message: Buffer, options: { flag?: number; length?: number } = {}): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt8(options.flag ?? 0)
  head.writeUInt32BE(options.length ?? message.length, 1)
  return Buffer.concat([head, message])
}

/** Answers with bytes, and then with a status or none. */
const bytes =
  (body: Buffer, trailers: Record<string, string> = { 'grpc-status': '0' }): Answer =>
  (stream) => {
    stream.respond(OK, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    stream.end(body)
  }
const value = (json: string): Answer => bytes(framed(response.encode(json)))

/** Answers with a status and nothing else. */
const refusal =
  (code: number | string, metadata: Record<string, string> = {}, message = 'x'): Answer =>
  (stream) =>
    stream.respond({ ...OK, 'grpc-status': String(code), 'grpc-message': message, ...metadata }, { endStream: true })
const wire = (error: unknown) => ({
  'seam-error-bin': Buffer.from(typeof error === 'string' ? error : JSON.stringify(error)).toString('base64'),
})
const page =
  (status: number): Answer =>
  (stream) => {
    stream.respond({ ':status': status, 'content-type': 'text/html' })
    stream.end('<html>password hunter2</html>')
  }

const answers: Record<string, [Answer, new (...args: never[]) => SeamError]> = {
  'bytes that are no message': [bytes(framed(Buffer.from('hello'))), Unavailable],
  'half of a message': [bytes(framed(response.encode('{"cents":7,"note":"abcdef"}').subarray(0, 14))), Unavailable],
  'less than it said': [bytes(framed(Buffer.alloc(3), { length: 1_000 })), Unavailable],
  'no message': [bytes(Buffer.alloc(0)), Unavailable],
  'two messages': [
    bytes(Buffer.concat([framed(response.encode('{"cents":7}')), framed(Buffer.alloc(0))])),
    Unavailable,
  ],
  'a message that is said to be compressed and is not': [bytes(framed(Buffer.from('hello'), { flag: 1 })), Unavailable],
  'a message and no status': [bytes(framed(response.encode('{"cents":7}')), {}), Unavailable],
  'a status that is none': [bytes(framed(response.encode('{"cents":7}')), { 'grpc-status': 'fine' }), Unavailable],
  'more than a message may weigh': [
    (stream) => {
      stream.respond(OK)
      stream.write(framed(Buffer.alloc(10), { length: LARGER * MAX_OUTPUT + 1 }))
    },
    Unavailable,
  ],
  'an empty message': [bytes(framed(Buffer.alloc(0))), CallFailed],
  'another shape': [bytes(framed(Buffer.from([0x08, 0x01]))), Unavailable],
  'a number that is none': [bytes(framed(Buffer.from([0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]))), CallFailed],
  'JSON that is none': [bytes(framed(Buffer.from([0x12, 1, 0x7b]))), Unavailable],
  'a page of a proxy': [page(502), Unavailable],
  'a page that asks to sign in': [page(401), Unavailable],
  'a page that forbids': [page(403), Unavailable],
  'a page that knows nothing': [page(404), Unavailable],
  'a page with 200': [page(200), Unavailable],
  'an error that nobody knows': [refusal(3, wire({ module: 'shop', code: 'Whatever', message: 'x' })), Unavailable],
  'an error named like the prototype': [
    refusal(3, wire({ module: 'shop', code: '__proto__', message: 'x' })),
    Unavailable,
  ],
  'an error that is no JSON': [refusal(5, wire('{')), Unavailable],
  'an error that is null': [refusal(5, wire(null)), Unavailable],
  'faults that are no list': [
    refusal(3, wire({ module: 'shop', code: 'BadInput', message: 'x', details: { errors: 'all' } })),
    BadInput,
  ],
  'a message of a status that is badly encoded': [refusal(13, {}, '%E0%A4%A'), Unavailable],
  UNIMPLEMENTED: [refusal(12), Unavailable],
  INTERNAL: [refusal(13), Unavailable],
  UNKNOWN: [refusal(2), Unavailable],
  CANCELLED: [refusal(1), Unavailable],
  RESOURCE_EXHAUSTED: [refusal(8), Unavailable],
  'UNAUTHENTICATED, which things in between say too': [refusal(16), Unavailable],
  'UNAVAILABLE, which things in between say too': [refusal(14), Unavailable],
  DEADLINE_EXCEEDED: [refusal(4), DeadlineExceeded],
  INVALID_ARGUMENT: [refusal(3), BadInput],
  'a status that means one error of the procedure': [refusal(6), shop.errors.Closed],
  'a status that may mean two errors of the procedure': [refusal(5), Unavailable],
  'a status of the future': [refusal(99), Unavailable],
  'the end of the connection': [(stream) => stream.session?.socket.destroy(), Unavailable],
  'the end of the session': [(stream) => stream.session?.destroy(), Unavailable],
  'a reset of the stream': [(stream) => stream.close(2), Unavailable],
  'nothing, ever': [() => {}, DeadlineExceeded],
  'a header, and then nothing': [(stream) => stream.respond(OK), DeadlineExceeded],
  'one byte, and then nothing': [
    (stream) => {
      stream.respond(OK)
      stream.write('\0')
    },
    DeadlineExceeded,
  ],
}

for (const [what, [answer, Expected]] of Object.entries(answers)) {
  t.test(`an instance that answers with ${what} gives ${Expected.name || 'that'}`, async (t) => {
    const { client, close, sockets } = await upstream(t, answer)
    const error = await errorOf(client.price({ id: '1' }, { timeout: 500 }))
    t.equal(error.constructor, Expected, error.stack ?? '')
    t.equal(error.module, 'shop')
    t.ok(Array.isArray(error.details?.errors ?? []))
    t.notMatch(error.message, 'hunter2')
    await close()
    await until('no connection stays', () => sockets.size === 0)
  })
}

t.test('what an instance of the next release says beyond the contract does not reach the caller', async (t) => {
  const more = Buffer.concat([response.encode('{"cents":7}'), Buffer.from([0x38, 1])])
  const { client } = await upstream(t, bytes(framed(more)))
  t.strictSame(await client.price({ id: '1' }), { cents: 7 })
})

t.test('what a call says of itself is in its metadata', async (t) => {
  const said: IncomingHttpHeaders[] = []
  const { client } = await upstream(t, (stream, headers) => {
    said.push(headers)
    value('{"cents":7}')(stream, headers)
  })
  t.strictSame(await client.price({ id: '1' }, { timeout: 5_000 }), { cents: 7 })
  const [headers] = said
  t.equal(headers![':path'], '/seam.shop.ShopService/Price')
  t.strictSame(tokens.service.verify('shop', String(headers!['x-seam-service'])), { caller: 'till' })
  t.match(headers!.traceparent, /^00-/)
  t.match(headers!['x-request-id'], /^[\w-]+$/)
  const [, milliseconds] = /^(\d+)m$/.exec(String(headers!['grpc-timeout'])) ?? []
  t.ok(Number(milliseconds) > 4_000 && Number(milliseconds) <= 5_000, `${milliseconds} ms`)
})

t.test('calls share one connection, which is kept', async (t) => {
  let most = 0
  const { client, sockets } = await upstream(t, (stream, headers) => {
    most = Math.max(most, sockets.size)
    value('{"cents":7}')(stream, headers)
  })
  for (let n = 0; n < 5; n++) await client.price({ id: '1' })
  await Promise.all(Array.from({ length: 100 }, () => client.price({ id: '1' })))
  t.equal(most, 1)
})

t.test('after nonsense the next call is answered, also on a new connection', async (t) => {
  const planned: Answer[] = [page(502), (stream) => stream.session?.socket.destroy(), value('{"cents":7}')]
  const { client } = await upstream(t, (stream, headers) => planned.shift()!(stream, headers))
  t.equal((await errorOf(client.price({ id: '1' }))).constructor, Unavailable)
  t.equal((await errorOf(client.price({ id: '1' }))).constructor, Unavailable)
  t.strictSame(await client.price({ id: '1' }), { cents: 7 })
})

t.test('an instance that comes back is called again within a second', async (t) => {
  const server = createHttp2Server()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const { client, close } = clientOf(port)
  t.teardown(close)
  for (let n = 0; n < 3; n++) t.equal((await errorOf(client.price({ id: '1' }))).constructor, Unavailable)
  const back = createHttp2Server()
  back.on('stream', (stream, headers) => value('{"cents":7}')(stream as ServerHttp2Stream, headers))
  back.listen(port, '127.0.0.1')
  await once(back, 'listening')
  t.teardown(() => back.close())
  await until('an answer', () => client.price({ id: '1' }).catch(() => undefined), 3_000)
})

t.test('an instance that does not speak HTTP/2 gives Unavailable, also one that says nothing at all', async (t) => {
  const greetings = ['SSH-2.0-OpenSSH_9.2\r\n', 'HTTP/1.1 400 Bad Request\r\n\r\n', '\0\0\0', undefined]
  await Promise.all(
    greetings.map(async (greeting) => {
      const sockets: Socket[] = []
      const server = createTcpServer((socket) => {
        sockets.push(socket.on('error', () => {}))
        if (greeting !== undefined) socket.end(greeting)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { client, close } = clientOf((server.address() as AddressInfo).port)
      const started = performance.now()
      t.equal(
        (await errorOf(client.price({ id: '1' }, { timeout: 8_000 }))).constructor,
        Unavailable,
        greeting ?? 'silence',
      )
      t.ok(performance.now() - started < 4_000, 'long before the deadline')
      await close()
      for (const socket of sockets) socket.destroy()
      server.close()
    }),
  )
})

t.test('a module with a wrong address gives Unavailable', async (t) => {
  const wrong = ['http://no-such-host.invalid', 'http://127.0.0.1:99999', 'nowhere', 'https://127.0.0.1']
  await Promise.all(
    wrong.map(async (url) => {
      const { client, close } = clientOf(1, url)
      t.equal((await errorOf(client.price({ id: '1' }, { timeout: 5_000 }))).constructor, Unavailable, url)
      await close()
    }),
  )
})

t.test('where an instance serves gRPC follows from its address for HTTP', async (t) => {
  t.strictSame(grpcTarget('http://10.0.0.1:8001', undefined), {
    target: `10.0.0.1:${8001 + GRPC_OFFSET}`,
    isSecure: false,
  })
  t.strictSame(grpcTarget('http://users', undefined), { target: 'users:2080', isSecure: false })
  t.strictSame(grpcTarget('https://users.example', 50_051), { target: 'users.example:50051', isSecure: true })
  t.strictSame(grpcTarget('http://[::1]:8001', undefined), { target: '[::1]:10001', isSecure: false })
  t.throws(() => grpcTarget('http://10.0.0.1:65000', undefined), /no port for gRPC: 67000/)
})

t.test('when the transport is closed, calls under way end', async (t) => {
  const begun = Promise.withResolvers<void>()
  const { client, close } = await upstream(t, () => begun.resolve())
  const call = errorOf(client.price({ id: '1' }))
  await begun.promise
  await close()
  t.equal((await call).constructor, Unavailable)
})

t.test('a command that a server has refused unseen, as one does that ends, may be sent to another', async (t) => {
  for (const id of ['1', 'x'.repeat(500_000)]) {
    const { client } = await upstream(t, (stream) => {
      stream.session!.close()
      stream.close(constants.NGHTTP2_REFUSED_STREAM)
    })
    const error = await errorOf(client.price({ id }))
    t.equal(error.constructor, Unavailable)
    t.type(error.cause, NotSent)
  }
})

t.test('a command that a server has looked at is not taken for refused, whatever its status says', async (t) => {
  const words = 'Stream refused by server'
  const trailers = { 'grpc-status': '14', 'grpc-message': words }
  for (const answer of [refusal(14, {}, words), bytes(Buffer.alloc(0), trailers)]) {
    const { client } = await upstream(t, answer)
    const error = await errorOf(client.price({ id: '1' }))
    t.equal(error.constructor, Unavailable)
    t.equal((error.cause as Error).message, `UNAVAILABLE: ${words}`)
    t.notOk(error.cause instanceof NotSent)
  }
})

t.test('after the transport is closed, nobody is called, and no connection is made', async (t) => {
  const { client, close, sockets } = await upstream(t, value('{"cents":7}'))
  t.strictSame(await client.price({ id: '1' }), { cents: 7 })
  await close()
  const error = await errorOf(client.price({ id: '1' }))
  t.equal(error.constructor, Unavailable)
  t.type(error.cause, NotSent)
  await until('no connection stays', () => sockets.size === 0)
})

t.test('when the transport is closed, who waits for a connection does not make another one', async (t) => {
  const sockets: Socket[] = []
  const server = createTcpServer((socket) => sockets.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { client, close } = clientOf((server.address() as AddressInfo).port)
  const call = errorOf(client.price({ id: '1' }))
  await until('a connection', () => sockets.length === 1)
  await close()
  t.equal((await call).constructor, Unavailable)
  await sleep(200)
  t.equal(sockets.length, 1)
})

t.test('a process that closes its adapter can end, also when an instance hangs', async (t) => {
  const server = createTcpServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const source = (path: string) => JSON.stringify(import.meta.resolve(`../../../../../src/platform/host/${path}`))
  const program = `
    import { Registry } from 'prom-client'
    import { healthContract } from ${source('health.ts')}
    import { systemTokens } from ${source('identity/tokens.ts')}
    import { CallStatistics } from ${source('rpc/call-stats.ts')}
    import { createClient } from ${source('rpc/client.ts')}
    import { remoteTo } from ${JSON.stringify(import.meta.resolve('../remote.ts'))}
    const { adapter, close } = remoteTo('shop', ['http://127.0.0.1'], { tokens: systemTokens('x'.repeat(32)), rpcPort: Number(process.argv[1]) })
    const client = createClient(healthContract('shop'), { caller: 'seam', adapter, strict: false, statistics: new CallStatistics(new Registry()) })
    await client.$health({}, { timeout: 100 }).catch((error) => console.log(error.code))
    await close()`
  const { port } = server.address() as AddressInfo
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const [code] = await once(child, 'exit')
  t.equal(code, 0)
  t.equal(output, 'DeadlineExceeded\n')
})

t.test('a call that cannot be written as metadata fails, and nothing else does', async (t) => {
  const { client } = await upstream(t, value('{"cents":7}'))
  const context = new RequestContext({ requestId: 'r-1\n' })
  t.type(await context.run(() => errorOf(client.price({ id: 'a' }))), CallFailed)
  context.end()
  t.same(await client.price({ id: 'a' }), { cents: 7 })
})
