import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import { Type } from 'typebox'
import { createServer } from '../../../../../src/platform/host/http/server.ts'
import { systemTokens } from '../../../../../src/platform/host/identity/tokens.ts'
import { CallStatistics } from '../../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../../src/platform/host/rpc/client.ts'
import { serveProcedures } from '../../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { MAX_INPUT, MAX_OUTPUT } from '../../../../../src/platform/host/rpc/wire.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  type SeamError,
  Unavailable,
} from '../../../../../src/platform/kit/errors.ts'
import { remoteTo } from '../remote.ts'

const tokens = systemTokens('a secret that only these tests know, of enough length')
const log = pino({ level: 'silent' })

const shop = defineContract('shop', {
  errors: { Closed: { status: 409, message: 'Closed.' } },
  procedures: {
    price: query({
      input: Type.Object({ id: Type.String() }),
      output: Type.Object({ cents: Type.Integer() }),
      throws: ['Closed'],
    }),
    anything: query({ input: Type.Unknown(), output: Type.Unknown() }),
  },
})

function clientOf(urls: string[], strict = false) {
  const remote = remoteTo('shop', urls, { tokens, strict })
  const statistics = new CallStatistics(new Registry())
  return {
    close: remote.close,
    client: createClient(shop, { caller: 'till', adapter: remote.adapter, strict, statistics }),
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

type Answer = (response: ServerResponse, request: IncomingMessage) => void

/** A server that answers as it likes, and a client that believes it to be a shop. */
async function upstream(t: Test, answer: Answer) {
  const sockets = new Set<Socket>()
  const server = createHttpServer((request, response) => {
    request.resume()
    request.on('end', () => answer(response, request))
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { close, client } = clientOf([`http://127.0.0.1:${(server.address() as AddressInfo).port}`])
  t.teardown(async () => {
    await close()
    server.closeAllConnections()
    server.close()
  })
  return { close, client, sockets }
}

const json =
  (status: number, body: unknown): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))

const text =
  (status: number, body: string | Buffer, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body)

const wire = (code: string, more: object = {}) => ({ module: 'shop', code, message: 'x', ...more })

const nonsense: Record<string, [Answer, new (...args: never[]) => SeamError]> = {
  'text that is no JSON': [text(200, 'hello'), Unavailable],
  'nothing at all': [text(200, ''), Unavailable],
  'half of the JSON': [text(200, '{"cents":'), Unavailable],
  '204': [text(204, ''), Unavailable],
  'bytes that are no UTF-8': [text(200, Buffer.from([0xff, 0xfe, 0x00])), Unavailable],
  'compressed JSON that nobody asked for': [
    text(200, Buffer.from('H4sIAAAAAAAAA6tWSk7NKylWsjI0qAUAKM0WZg0AAAA=', 'base64'), { 'content-encoding': 'gzip' }),
    Unavailable,
  ],
  'a page of a proxy': [text(502, '<html>Bad Gateway</html>', { 'content-type': 'text/html' }), Unavailable],
  'a redirection': [text(302, '', { location: 'http://127.0.0.1:1/' }), Unavailable],
  'a problem of the REST API': [
    json(413, { type: 'urn:seam', status: 413, module: 'shop', code: 'TooLarge' }),
    Unavailable,
  ],
  'JSON null with 500': [json(500, null), Unavailable],
  'a list with 500': [json(500, []), Unavailable],
  'another shape': [json(200, { dollars: 1 }), CallFailed],
  'more than the contract says': [json(200, { cents: 1, secret: 2 }), CallFailed],
  'a number that is a text': [json(200, { cents: '1' }), CallFailed],
  'an error with 200': [json(200, wire('Closed')), CallFailed],
  'an error that nobody knows': [json(400, wire('Whatever')), Unavailable],
  'an error named like what every object has': [json(400, wire('constructor')), Unavailable],
  'an error named like the prototype': [json(400, wire('__proto__')), Unavailable],
  'an error without words': [json(400, { module: 'shop', code: 'Closed' }), Unavailable],
  'faults that are no list': [json(400, wire('BadInput', { details: { errors: 'all' } })), BadInput],
  'faults that are nothing': [json(400, wire('BadInput', { details: null })), BadInput],
  'more than 8 MiB at once': [text(200, `"${'x'.repeat(MAX_OUTPUT)}"`), Unavailable],
  'more than 8 MiB, bit by bit': [
    (response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 32)));
      }
      response.on('drain', more)
      more()
    },
    Unavailable,
  ],
  'less than it said': [
    (response) => {
      response.writeHead(200, { 'content-length': '1000' }).write('{"cents"')
      setTimeout(() => response.destroy(), 10)
    },
    Unavailable,
  ],
  'a chunk, and then the end of the connection': [
    (response) => {
      response.write('{"cents"')
      setTimeout(() => response.destroy(), 10)
    },
    Unavailable,
  ],
  'the end of the connection': [(response) => response.socket?.destroy(), Unavailable],
  'a reset of the connection': [(response) => (response.socket as Socket).resetAndDestroy(), Unavailable],
  'nothing, ever': [() => {}, DeadlineExceeded],
  'a header, and then nothing': [(response) => response.writeHead(200).flushHeaders(), DeadlineExceeded],
  'one byte, and then nothing': [(response) => response.write('{'), DeadlineExceeded],
  'one byte now and then': [
    (response) => {
      const timer = setInterval(() => response.write(' '), 20)
      response.on('close', () => clearInterval(timer))
    },
    DeadlineExceeded,
  ],
}

for (const [what, [answer, Expected]] of Object.entries(nonsense)) {
  t.test(`an instance that answers with ${what} gives ${Expected.name}, and no connection stays`, async (t) => {
    const { close, client, sockets } = await upstream(t, answer)
    const error = await errorOf(client.price({ id: '1' }, { timeout: 300 }))
    t.equal(error.constructor, Expected, error.stack ?? '')
    t.equal(error.module, 'shop')
    t.ok(Array.isArray(error.details?.errors ?? []))
    await close()
    for (let waited = 0; sockets.size > 0 && waited < 1_000; waited += 10) await sleep(10)
    t.equal(sockets.size, 0)
  })
}

t.test('nonsense is no result, also where the contract allows anything', async (t) => {
  const answers = [text(200, 'hello'), text(200, ''), text(200, '{')]
  const { client } = await upstream(t, (response, request) => answers.shift()!(response, request))
  for (const _ of [1, 2, 3]) t.equal((await errorOf(client.anything({}))).constructor, Unavailable)
})

t.test('an instance that does not speak HTTP gives Unavailable', async (t) => {
  for (const greeting of [
    'SSH-2.0-OpenSSH_9.2\r\n',
    'HTTP/1.1 2xx ?\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(99_999)}`,
    '\0\0\0',
  ]) {
    const server = createTcpServer((socket) => socket.on('error', () => {}).end(greeting))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { close, client } = clientOf([`http://127.0.0.1:${(server.address() as AddressInfo).port}`])
    t.equal((await errorOf(client.price({ id: '1' }, { timeout: 2_000 }))).constructor, Unavailable)
    await close()
    server.close()
  }
})

t.test('a module without an address, or with a wrong one, gives Unavailable', async (t) => {
  for (const urls of [[], ['http://127.0.0.1:1'], ['http://no-such-host.invalid'], ['http://127.0.0.1:99999']]) {
    const { close, client } = clientOf(urls)
    const error = await errorOf(client.price({ id: '1' }, { timeout: 5_000 }))
    t.equal(error.constructor, Unavailable, urls[0] ?? 'no address')
    t.ok(error.cause instanceof Error || urls.length === 0)
    await close()
  }
})

t.test('after nonsense the next call is answered', async (t) => {
  const answers = [
    text(502, '<html>'),
    (response: ServerResponse) => response.socket?.destroy(),
    json(200, { cents: 7 }),
  ]
  const { client } = await upstream(t, (response, request) => answers.shift()!(response, request))
  t.equal((await errorOf(client.price({ id: '1' }))).constructor, Unavailable)
  t.equal((await errorOf(client.price({ id: '1' }))).constructor, Unavailable)
  t.strictSame(await client.price({ id: '1' }), { cents: 7 })
})

t.test('the causes of a failure stay out of its message', async (t) => {
  const { client } = await upstream(t, text(502, '<html>password hunter2</html>'))
  const error = await errorOf(client.price({ id: '1' }))
  t.equal(error.message, 'The module "shop" cannot be reached.')
})

t.test('an input that is too large, or that JSON cannot carry, is refused before it is sent', async (t) => {
  let requests = 0
  const { client } = await upstream(t, (response, request) => {
    requests++
    json(200, null)(response, request)
  })
  t.equal((await errorOf(client.anything('x'.repeat(MAX_INPUT)))).constructor, BadInput)
  t.equal((await errorOf(client.anything(1n))).constructor, CallFailed)
  t.equal((await errorOf(client.anything(() => {}))).constructor, CallFailed)
  t.equal(requests, 0)
  t.equal(await client.anything('x'.repeat(MAX_INPUT - 2)), null)
  t.equal(requests, 1)
})

t.test('connections are kept, and at most 64 are open at once', async (t) => {
  let most = 0
  const { client, sockets } = await upstream(t, async (response, request) => {
    most = Math.max(most, sockets.size)
    await sleep(5)
    json(200, { cents: 1 })(response, request)
  })
  for (let n = 0; n < 10; n++) await client.price({ id: '1' })
  t.ok(most <= 2, 'the next call may begin while the connection of the last one is still being tidied up')
  await Promise.all(Array.from({ length: 300 }, () => client.price({ id: '1' })))
  t.equal(most, 64)
})

t.test('calls that wait for a free connection end by their deadlines too', async (t) => {
  const { client } = await upstream(t, () => {})
  const calls = Array.from({ length: 100 }, () => errorOf(client.price({ id: '1' }, { timeout: 200 })))
  const started = performance.now()
  for (const error of await Promise.all(calls)) if (error.constructor !== DeadlineExceeded) t.fail(error.stack!)
  t.ok(performance.now() - started < 1_500)
})

t.test('all instances are asked', async (t) => {
  const asked: string[] = []
  const servers = await Promise.all(
    ['a', 'b', 'c'].map(async (name) => {
      const server = createHttpServer((request, response) => {
        asked.push(name)
        json(200, { cents: 1 })(response, request)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const { close, client } = clientOf(
    servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`),
  )
  for (let n = 0; n < 60; n++) await client.price({ id: '1' })
  t.strictSame([...new Set(asked)].sort(), ['a', 'b', 'c'])
  await close()
  for (const server of servers) server.close()
})

t.test('when a user hangs up, what is done for them elsewhere ends', async (t) => {
  const begun = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<boolean>()
  const procedures = new Procedures({ strict: true, log })
  procedures.implement(shop, {
    price: (_input, { signal }) => {
      signal.addEventListener('abort', () => ended.resolve(true))
      begun.resolve()
      return new Promise(() => {})
    },
    anything: () => null,
  })
  const callee = createServer({ log, trustProxy: true })
  serveProcedures(callee, shop, { procedures, tokens, mayCall: () => true })
  const { close, client } = clientOf([await callee.listen({ host: '127.0.0.1', port: 0 })])
  const edge = createServer({ log, trustProxy: true })
  edge.post('/api/price', async () => client.price({ id: '1' }))
  const url = await edge.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    await close()
    await Promise.all([edge.close(), callee.close()])
  })

  const user = new AbortController()
  const request = fetch(`${url}/api/price`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    signal: user.signal,
  }).catch(() => {})
  await begun.promise
  const started = performance.now()
  user.abort()
  t.equal(await Promise.race([ended.promise, sleep(2_000, false)]), true)
  t.ok(performance.now() - started < 1_000)
  await request
})

t.test('a process that closes its adapter can end, also when an instance hangs', async (t) => {
  const server = createHttpServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const source = (path: string) => JSON.stringify(import.meta.resolve(`../../../../../src/platform/host/${path}`))
  const program = `
    import { Registry } from 'prom-client'
    import { healthContract } from ${source('health.ts')}
    import { systemTokens } from ${source('identity/tokens.ts')}
    import { CallStatistics } from ${source('rpc/call-stats.ts')}
    import { createClient } from ${source('rpc/client.ts')}
    import { remoteTo } from ${JSON.stringify(import.meta.resolve('../remote.ts'))}
    const { adapter, close } = remoteTo('shop', [process.argv[1]], { tokens: systemTokens('x'.repeat(32)) })
    const client = createClient(healthContract('shop'), { caller: 'seam', adapter, strict: false, statistics: new CallStatistics(new Registry()) })
    await client.$health({}, { timeout: 100 }).catch((error) => console.log(error.code))
    await close()`
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, url], {
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
