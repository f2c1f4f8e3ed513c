import { request } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { refused } from '../../../api/client.ts'
import { until } from '../../../support/until.ts'
import { startEdge, within } from './edge.ts'
import { says, upstream } from './upstreams.ts'

t.setTimeout(240_000)

const path = '/api/posts'
const MIB = 1024 * 1024
const tooLarge = { status: 413, code: 'PayloadTooLarge', module: 'posts', path }

/** An edge before an instance that reads what it gets and says how much that was. */
async function edgeBeforeReader(t: Parameters<typeof upstream>[0]) {
  let received = 0
  let lengths: string[] = []
  const instance = await upstream(t, (request, response) => {
    received = 0
    lengths = [String(request.headers['content-length']), String(request.headers['transfer-encoding'])]
    request.on('data', (chunk: Buffer) => (received += chunk.length))
    request.on('end', () => says(200, { received })(request, response))
  })
  const edge = await startEdge(t, [instance.url])
  return { ...edge, instance, received: () => received, lengths: () => lengths }
}

t.test('a large body streams through: its beginning is there before its end was sent', async (t) => {
  const { url, received, lengths } = await edgeBeforeReader(t)
  for (const [headers, expected] of [
    [{ 'content-length': String(MIB) }, [String(MIB), 'undefined']],
    [{ 'transfer-encoding': 'chunked' }, ['undefined', 'chunked']],
  ] as [Record<string, string>, string[]][]) {
    const asked = request(`${url}${path}`, { method: 'POST', headers })
    const answer = new Promise<Buffer>((resolve, reject) => {
      asked.on('error', reject).on('response', (response) => buffer(response).then(resolve, reject))
    })
    asked.write(Buffer.alloc(MIB / 2))
    await until('half of it has arrived', () => received() === MIB / 2)
    asked.end(Buffer.alloc(MIB / 2))
    t.strictSame(JSON.parse(String(await answer)), { received: MIB })
    t.strictSame(lengths(), expected, 'in the form in which it was sent')
  }
})

t.test('a small body is sent in one piece, whatever it came in', async (t) => {
  const { api, lengths } = await edgeBeforeReader(t)
  async function* parts() {
    for (const part of ['a', 'b', 'c']) yield Buffer.from(part)
  }
  for (const body of ['abc', parts()]) {
    t.strictSame((await api.send('POST', path, { body })).body, { received: 3 })
    t.strictSame(lengths(), ['3', 'undefined'])
  }
  t.strictSame((await api.send('POST', path)).body, { received: 0 }, 'none is none')
  t.strictSame((await api.send('DELETE', path)).body, { received: 0 })
})

t.test('a body that is too large is refused, whether its length is known or not', async (t) => {
  const { api, instance } = await edgeBeforeReader(t)
  refused(t, await api.send('POST', path, { body: Buffer.alloc(MIB + 1) }), tooLarge)
  t.equal(instance.asked, 0, 'the module was not asked')
  async function* parts() {
    for (let i = 0; i < 32; i++) yield Buffer.alloc(MIB / 8)
  }
  refused(t, await api.send('POST', path, { body: parts() }), tooLarge)
  await until('the module hears that no more comes', () => instance.left === instance.asked)
  t.equal((await api.send('POST', path, { body: Buffer.alloc(MIB) })).status, 200, 'the largest that is allowed')
  const ambiguous = `${path}/../x`
  refused(t, await api.send('POST', ambiguous, { body: parts() }), { ...tooLarge, path: ambiguous })
})

t.test('a body that is broken in the middle reaches nobody as a whole', async (t) => {
  const { url, instance, received, balancer } = await edgeBeforeReader(t)
  const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`
  for (const end of ['destroy', 'end', 'nonsense']) {
    const before = instance.asked
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.resume()
    socket.write(`${head}${(100_000).toString(16)}\r\n${'x'.repeat(100_000)}\r\n`)
    await until('the module has the beginning', () => instance.asked > before && received() === 100_000)
    if (end === 'destroy') socket.destroy()
    else if (end === 'end') socket.end()
    else socket.write('nonsense\r\n')
    await until(`the module hears of it: ${end}`, () => instance.left === instance.asked)
    socket.destroy()
  }
  t.equal(balancer.instancesOf('posts')[0]!.breaker.state, 'closed')
})

t.test('a client that sends slowly is refused at the deadline, and the instance is not blamed', async (t) => {
  const { url, instance, balancer } = await edgeBeforeReader(t)
  const [one] = balancer.instancesOf('posts')
  for (let i = 0; i < 6; i++) {
    const headers = { 'content-length': String(MIB), ...within(100) }
    const asked = request(`${url}${path}`, { method: 'POST', headers })
    asked.write(Buffer.alloc(100_000))
    const answer = await new Promise<[number | undefined, string]>((resolve, reject) => {
      asked.on('response', (response) => {
        buffer(response).then((body) => resolve([response.statusCode, JSON.parse(String(body)).code]), reject)
      })
      asked.on('error', reject)
    })
    t.strictSame(answer, [503, 'DeadlineExceeded'])
    asked.destroy()
  }
  await until('the module hears of it', () => instance.left === 6)
  t.equal(one!.breaker.state, 'closed')
})

t.test('an answer that comes before the body has ended is passed on, and the connection ends', async (t) => {
  const hasty = await upstream(t, (_request, response) => {
    const body = JSON.stringify({ code: 'Overloaded', module: 'seam' })
    response.writeHead(503, { 'content-type': 'application/problem+json', 'x-seam-failed': 'seam' }).end(body)
  })
  const { url } = await startEdge(t, [hasty.url])
  const asked = request(`${url}${path}`, { method: 'POST', headers: { 'content-length': String(MIB) } })
  asked.on('error', () => {})
  asked.write(Buffer.alloc(100_000))
  const [status, connection, code] = await new Promise<unknown[]>((resolve) => {
    asked.on('response', async (response) => {
      const body = JSON.parse(String(await buffer(response)))
      resolve([response.statusCode, response.headers.connection, body.code])
    })
  })
  t.strictSame([status, connection, code], [503, 'close', 'Overloaded'])
  asked.destroy()
})

t.test('a read with a body is a read', async (t) => {
  const { api, received } = await edgeBeforeReader(t)
  t.strictSame((await api.send('GET', path, { body: 'abc' })).body, { received: 0 })
  t.equal(received(), 0)
  t.equal((await api.get(path)).status, 200, 'the connection is as good as before')
})
