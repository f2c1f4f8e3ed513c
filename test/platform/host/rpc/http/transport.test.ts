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
import { RequestContext } from '../../../../../src/platform/host/request-context.ts'
import { CallStatistics } from '../../../../../src/platform/host/rpc/call-stats.ts'
import { createClient } from '../../../../../src/platform/host/rpc/client.ts'
import { serveProcedures } from '../../../../../src/platform/host/rpc/http/server.ts'
import { Procedures } from '../../../../../src/platform/host/rpc/procedures.ts'
import { MAX_INPUT, MAX_OUTPUT } from '../../../../../src/platform/host/rpc/wire.ts'
import type { CallContext } from '../../../../../src/platform/kit/call-context.ts'
import { defineContract, query } from '../../../../../src/platform/kit/contract.ts'
import {
  BadInput,
  CallFailed,
  DeadlineExceeded,
  type SeamError,
  Unavailable,
} from '../../../../../src/platform/kit/errors.ts'
import { until } from '../../../../support/until.ts'
import { remoteTo } from '../remote.ts'

const tokens = systemTokens('a secret that only these tests know, of enough length')
const log = pino({ level: 'silent' })
// Deadlines and pauses keep no process alive; a listening server does in a real one.
const alive = setInterval(() => {}, 1_000)
t.teardown(() => clearInterval(alive))

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

/** The answer to the first call of a request. */
const result =
  (value: unknown): Answer =>
  (response) =>
    response.writeHead(200).end(`0 ${JSON.stringify(value)}\n`)

const failure =
  (value: unknown): Answer =>
  (response) =>
    response.writeHead(200).end(`0!${JSON.stringify(value)}\n`)

const text =
  (status: number, body: string | Buffer, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(status, headers).end(body)

const wire = (code: string, more: object = {}) => ({ module: 'shop', code, message: 'x', ...more })

const nonsense: Record<string, [Answer, new (...args: never[]) => SeamError]> = {
  'text that is no line': [text(200, 'hello'), Unavailable],
  'a line that is no answer': [text(200, 'hello\n'), Unavailable],
  'nothing at all': [text(200, ''), Unavailable],
  'an empty line': [text(200, '\n'), Unavailable],
  'a line without an end': [text(200, '0 {"cents":1}'), Unavailable],
  'half of the JSON': [text(200, '0 {"cents":\n'), Unavailable],
  'an answer to a call that is not there': [text(200, '1 {"cents":1}\n'), Unavailable],
  'a number of a call that is none': [text(200, '-1 {"cents":1}\n'), Unavailable],
  'a number of a call without end': [text(200, `${'9'.repeat(400)} {"cents":1}\n`), Unavailable],
  '204': [text(204, ''), Unavailable],
  'bytes that are no UTF-8': [text(200, Buffer.from([0xff, 0xfe, 0x00, 0x0a])), Unavailable],
  'compressed JSON that nobody asked for': [
    text(200, Buffer.from('H4sIAAAAAAAAA6tWSk7NKylWsjI0qAUAKM0WZg0AAAA=', 'base64'), { 'content-encoding': 'gzip' }),
    Unavailable,
  ],
  'a page of a proxy': [text(502, '<html>Bad Gateway</html>', { 'content-type': 'text/html' }), Unavailable],
  'a redirection': [text(302, '', { location: 'http://127.0.0.1:1/' }), Unavailable],
  'a problem of the REST API': [text(413, '{"type":"urn:seam","module":"shop","code":"TooLarge"}'), Unavailable],
  'an answer with another status': [text(500, '0 {"cents":1}\n'), Unavailable],
  'an error that is null': [failure(null), Unavailable],
  'an error that is a list': [failure([]), Unavailable],
  'another shape': [result({ dollars: 1 }), CallFailed],
  'more than the contract says, and not what it says': [result({ cents: '1', secret: 2 }), CallFailed],
  'a number that is a text': [result({ cents: '1' }), CallFailed],
  'an error in place of a result': [result(wire('Closed')), CallFailed],
  'an error that nobody knows': [failure(wire('Whatever')), Unavailable],
  'an error named like what every object has': [failure(wire('constructor')), Unavailable],
  'an error named like the prototype': [failure(wire('__proto__')), Unavailable],
  'an error without words': [failure({ module: 'shop', code: 'Closed' }), Unavailable],
  'faults that are no list': [failure(wire('BadInput', { details: { errors: 'all' } })), BadInput],
  'faults that are nothing': [failure(wire('BadInput', { details: null })), BadInput],
  'more than 8 MiB at once': [text(200, `0 "${'x'.repeat(MAX_OUTPUT + 8)}"\n`), Unavailable],
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
      response.writeHead(200, { 'content-length': '1000' }).write('0 {"cents"')
      setTimeout(() => response.destroy(), 10)
    },
    Unavailable,
  ],
  'a chunk, and then the end of the connection': [
    (response) => {
      response.write('0 {"cents"')
      setTimeout(() => response.destroy(), 10)
    },
    Unavailable,
  ],
  'the end of the connection': [(response) => response.socket?.destroy(), Unavailable],
  'a reset of the connection': [(response) => (response.socket as Socket).resetAndDestroy(), Unavailable],
  'nothing, ever': [() => {}, DeadlineExceeded],
  'a header, and then nothing': [(response) => response.writeHead(200).flushHeaders(), DeadlineExceeded],
  'one byte, and then nothing': [(response) => response.write('0'), DeadlineExceeded],
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
    const timeout = Expected === DeadlineExceeded ? 300 : 5_000
    const error = await errorOf(client.price({ id: '1' }, { timeout }))
    t.equal(error.constructor, Expected, error.stack ?? '')
    t.equal(error.module, 'shop')
    t.ok(Array.isArray(error.details?.errors ?? []))
    await close()
    for (let waited = 0; sockets.size > 0 && waited < 1_000; waited += 10) await sleep(10)
    t.equal(sockets.size, 0)
  })
}

t.test('what an instance of the next release says beyond the contract does not reach the caller', async (t) => {
  const { client } = await upstream(t, result({ cents: 1, secret: 2 }))
  t.strictSame(await client.price({ id: '1' }), { cents: 1 })
})

t.test('nonsense is no result, also where the contract allows anything', async (t) => {
  for (const answer of [text(200, 'hello'), text(200, ''), text(200, '0 {\n')]) {
    const { client } = await upstream(t, answer)
    t.equal((await errorOf(client.anything({}))).constructor, Unavailable)
  }
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
    t.ok(error instanceof Unavailable, urls[0] ?? 'no address')
    t.ok(error.cause instanceof Error || urls.length === 0)
    await close()
  }
})

t.test('nonsense is asked again, and what comes then is the answer', async (t) => {
  const answers = [
    text(502, '<html>'),
    (response: ServerResponse) => response.socket?.destroy(),
    result({ cents: 7 }),
    result({ cents: 8 }),
  ]
  const { client } = await upstream(t, (response, request) => answers.shift()!(response, request))
  t.strictSame(await client.price({ id: '1' }), { cents: 7 })
  t.strictSame(await client.price({ id: '1' }), { cents: 8 })
})

t.test(
  'a connection that breaks under many calls is one fault of their instance, and all are made again',
  async (t) => {
    const procedures = new Procedures({ strict: true, log })
    procedures.implement(shop, { price: async () => ({ cents: 1 }), anything: async () => null })
    const server = createServer({ log, trustProxy: true })
    let breaks = false
    server.server.prependListener('request', ({ socket }) => {
      if (breaks) socket.destroy()
      breaks = false
    })
    serveProcedures(server, shop.name, [{ contract: shop, mayCall: () => true }], { procedures, tokens })
    const { close, client } = clientOf([await server.listen({ host: '127.0.0.1', port: 0 })])
    t.teardown(async () => {
      await close()
      await server.close()
    })
    const calls = (many: number) => Array.from({ length: many }, (_, n) => client.price({ id: `${n}` }))
    // Repetitions are a fifth of what was asked, at most.
    await Promise.all(calls(100))
    breaks = true
    t.strictSame(await Promise.all(calls(16)), Array(16).fill({ cents: 1 }))
    t.notOk(breaks)
  },
)

t.test('an answer that does not end when all is answered is cut, and its connection closed', async (t) => {
  const { client, sockets } = await upstream(t, (response) => response.writeHead(200).write('0 {"cents":1}\n'))
  t.strictSame(await client.price({ id: '1' }), { cents: 1 })
  t.equal(sockets.size, 1)
  await until('the connection is closed', () => sockets.size === 0)
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
    result(null)(response, request)
  })
  t.equal((await errorOf(client.anything('x'.repeat(MAX_INPUT)))).constructor, BadInput)
  t.equal((await errorOf(client.anything(1n))).constructor, CallFailed)
  t.equal((await errorOf(client.anything(() => {}))).constructor, CallFailed)
  t.equal(requests, 0)
  t.equal(await client.anything('x'.repeat(MAX_INPUT - 2)), null)
  t.equal(requests, 1)
})

/** A server that keeps the lines of each request, and answers them when and as the test wants. */
async function recorder(t: Test, answer: (lines: string[], response: ServerResponse) => void) {
  const requests: string[][] = []
  const server = createHttpServer((request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const lines = body.split('\n').slice(0, -1)
      requests.push(lines)
      answer(lines, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { close, client } = clientOf([`http://127.0.0.1:${(server.address() as AddressInfo).port}`])
  t.teardown(async () => {
    await close()
    server.closeAllConnections()
    server.close()
  })
  return { client, requests }
}

const priceOf = (line: string): number => Number(JSON.parse(line)[6].id)
const answerAll = (lines: string[], response: ServerResponse) =>
  response.end(lines.map((line, index) => `${index} {"cents":${priceOf(line)}}\n`).join(''))

t.test('calls of one turn share a request, up to 16, and each gets its own answer', async (t) => {
  const { client, requests } = await recorder(t, answerAll)
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => client.price({ id: `${n}` })))
  t.strictSame(
    answers.map(({ cents }) => cents),
    Array.from({ length: 40 }, (_, n) => n),
  )
  t.strictSame(requests.map(({ length }) => length).sort(), [16, 16, 8])
  await client.price({ id: '1' })
  t.equal(requests.length, 4, 'a call alone has a request of its own')
})

t.test('heavy calls do not share: a request takes no more than 256 KiB, or one call', async (t) => {
  const { client, requests } = await recorder(t, (lines, response) =>
    response.end(lines.map((_, index) => `${index} null\n`).join('')),
  )
  await Promise.all(Array.from({ length: 6 }, () => client.anything('x'.repeat(100_000))))
  t.strictSame(
    requests.map(({ length }) => length),
    [2, 2, 2],
  )
  await Promise.all([1, 2].map(() => client.anything('x'.repeat(1_000_000))))
  t.equal(requests.length, 5)
})

t.test('an answer is handed out as soon as it is there, in any order, also when it comes in pieces', async (t) => {
  const slow = Promise.withResolvers<ServerResponse>()
  const { client } = await recorder(t, async (lines, response) => {
    t.equal(lines.length, 3)
    response.write('2 {"ce')
    await sleep(20)
    response.write('nts":2}\n1 {"cents":1}\n0 {"c')
    slow.resolve(response)
  })
  const order: number[] = []
  const calls = [0, 1, 2].map(async (n) => {
    const { cents } = await client.price({ id: `${n}` })
    order.push(cents)
  })
  const response = await slow.promise
  await Promise.all([calls[1], calls[2]])
  t.strictSame(order, [2, 1])
  response.end('ents":0}\n')
  await calls[0]
  t.strictSame(order, [2, 1, 0])
})

t.test('text that is cut between two bytes of a character arrives whole', async (t) => {
  const { client } = await recorder(t, async (_lines, response) => {
    const bytes = Buffer.from('0 "日本語 👩‍👩‍👧"\n')
    for (const byte of bytes) {
      response.write(Buffer.from([byte]))
      await sleep(1)
    }
    response.end()
  })
  t.equal(await client.anything(null), '日本語 👩‍👩‍👧')
})

t.test('a fault of one call leaves the others of its request alone', async (t) => {
  const { client } = await recorder(t, (_lines, response) =>
    response.end('0 {"cents":0}\n1!{"module":"shop","code":"Closed","message":"x"}\n2 {"dollars":2}\n'),
  )
  const answers = await Promise.allSettled([0, 1, 2].map((n) => client.price({ id: `${n}` })))
  t.strictSame(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.reason.constructor)),
    [{ cents: 0 }, shop.errors.Closed, CallFailed],
  )
})

t.test('what has been answered stays so when the rest of the answer never comes', async (t) => {
  const { client } = await recorder(t, (_lines, response) => {
    response.write('1 {"cents":1}\n')
    setTimeout(() => response.destroy(), 20)
  })
  const answers = await Promise.allSettled([0, 1].map((n) => client.price({ id: `${n}` })))
  t.strictSame(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.reason.constructor)),
    [Unavailable, { cents: 1 }],
  )
})

t.test('each call of a request has a deadline of its own', async (t) => {
  const { client, requests } = await recorder(t, async (lines, response) => {
    await sleep(150)
    answerAll(lines, response)
  })
  const [late, good] = await Promise.allSettled([
    client.price({ id: '1' }, { timeout: 50 }),
    client.price({ id: '2' }, { timeout: 5_000 }),
  ])
  t.equal((late as PromiseRejectedResult).reason.constructor, DeadlineExceeded)
  t.strictSame((good as PromiseFulfilledResult<unknown>).value, { cents: 2 })
  t.equal(requests.length, 1)
})

t.test('connections are kept, and no more are in use than calls may be under way', async (t) => {
  let underWay = 0
  let most = 0
  const { client, sockets } = await upstream(t, async (response, request) => {
    most = Math.max(most, ++underWay)
    await sleep(300)
    underWay--
    result(1)(response, request)
  })
  for (let n = 0; n < 3; n++) await client.anything(1)
  t.ok(sockets.size <= 2, 'the next call may begin while the connection of the last one is still being tidied up')
  // So heavy that each has a request of its own.
  await Promise.all(Array.from({ length: 150 }, () => client.anything('x'.repeat(300_000))))
  t.ok(most > 64 && most <= 125, `${most} at once`)
})

t.test('slow calls keep no others waiting', async (t) => {
  const { client } = await recorder(t, async (lines, response) => {
    if (lines.some((line) => priceOf(line) === 0)) await sleep(1_500)
    answerAll(lines, response)
  })
  const slow: Promise<unknown>[] = []
  for (let n = 0; n < 100; n++) {
    slow.push(client.price({ id: '0' }))
    // Each in a request of its own.
    await sleep(2)
  }
  t.strictSame(await client.price({ id: '1' }, { timeout: 500 }), { cents: 1 })
  await Promise.all(slow)
})

t.test('whoever leaves an instance that does not answer leaves no connection behind', async (t) => {
  const { client, sockets } = await upstream(t, () => {})
  // Two calls share a request each time; one of them is cancelled while the other goes on.
  const calls: Promise<unknown>[] = []
  for (let n = 0; n < 10; n++) {
    const leaving = new RequestContext({ timeout: 30_000 })
    calls.push(
      errorOf(leaving.run(() => client.price({ id: '1' }))),
      errorOf(client.price({ id: '2' }, { timeout: 500 })),
    )
    await sleep(20)
    leaving.end()
  }
  await until('the connections', () => sockets.size >= 10)
  await Promise.all(calls)
  await until('the end of all connections', () => sockets.size === 0, 5_000)
})

t.test('calls to an instance that does not answer end by their deadlines', async (t) => {
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
        result({ cents: 1 })(response, request)
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

t.test('a caller that goes away is not waited for on the far side, while others of its request go on', async (t) => {
  const contexts: CallContext[] = []
  const gate = Promise.withResolvers<void>()
  const procedures = new Procedures({ strict: true, log })
  procedures.implement(shop, {
    async price(_input, context) {
      contexts.push(context)
      await gate.promise
      return { cents: 1 }
    },
    anything: () => null,
  })
  const callee = createServer({ log, trustProxy: true })
  serveProcedures(callee, 'shop', [{ contract: shop, mayCall: () => true }], { procedures, tokens })
  const { close, client } = clientOf([await callee.listen({ host: '127.0.0.1', port: 0 })])
  t.teardown(async () => {
    await close()
    await callee.close()
  })
  const leaving = new RequestContext({ requestId: 'leaving', timeout: 30_000 })
  const staying = new RequestContext({ requestId: 'staying', timeout: 30_000 })
  t.teardown(() => staying.end())
  const left = errorOf(leaving.run(() => client.price({ id: '1' })))
  const stayed = staying.run(() => client.price({ id: '2' }))
  await until('both calls', () => contexts.length === 2)
  const signalOf = (id: string) => contexts.find(({ requestId }) => requestId === id)!.signal
  leaving.end()
  t.equal((await left).constructor, DeadlineExceeded)
  await until('the end of the one', () => signalOf('leaving').aborted, 2_000)
  t.notOk(signalOf('staying').aborted)
  gate.resolve()
  t.strictSame(await stayed, { cents: 1 })
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
  serveProcedures(callee, 'shop', [{ contract: shop, mayCall: () => true }], { procedures, tokens })
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
