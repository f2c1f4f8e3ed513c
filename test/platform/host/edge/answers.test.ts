import { request } from 'node:http'
import { Socket } from 'node:net'
import t from 'tap'
import { refused } from '../../../api/client.ts'
import { until } from '../../../support/until.ts'
import { startEdge, within } from './edge.ts'
import { answering, listen, upstream } from './upstreams.ts'

t.setTimeout(240_000)

const path = '/api/posts'
const unavailable = { status: 503, code: 'Unavailable', module: 'posts', path }
const MIB = 1024 * 1024
const JSON_TYPE = 'content-type: application/json\r\n'

t.test('a body that ends too early is not passed off as a whole one', async (t) => {
  let bytes = ''
  const { api } = await startEdge(t, [await answering(t, () => bytes)])
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: 100\r\n\r\n{"data":`
  refused(t, await api.get(path), unavailable, 'of a small one nothing has been sent yet')
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: ${MIB}\r\n\r\n{"data":"${'x'.repeat(100_000)}`
  await t.rejects(api.get(path), 'a large one is cut off')
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}transfer-encoding: chunked\r\n\r\n5\r\n{"dat\r\n`
  await t.rejects(api.get(path), 'in chunks')
})

t.test('a hostile answer is refused, or loses what is hostile in it', async (t) => {
  const refusals = {
    'a control character in a header': `HTTP/1.1 200 OK\r\nx-evil: a\x01b\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}`,
    'a delete character in a header': `HTTP/1.1 200 OK\r\nx-evil: a\x7fb\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}`,
    'a null character in a header': `HTTP/1.1 200 OK\r\nx-evil: a\0b\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}`,
    'a bare carriage return in a header': `HTTP/1.1 200 OK\r\nx: a\rb: c\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}`,
    'two lengths': `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: 2\r\ncontent-length: 4\r\n\r\n{}{}`,
    'a length and chunks': `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    'a negative length': `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: -2\r\n\r\n{}`,
    'a status of 600': `HTTP/1.1 600 Odd\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}`,
    'a change of protocol': 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
    'headers without end': `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(20_000)}`,
    'a problem that calls itself text': 'HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}',
  }
  let bytes = ''
  const url = await listen(t, (socket) => void socket.once('data', () => socket.end(bytes, 'latin1')))
  for (const [what, answer] of Object.entries(refusals)) {
    const { api } = await startEdge(t, [url])
    bytes = answer
    refused(t, await api.get(path), unavailable, what)
  }
  const { api } = await startEdge(t, [url])
  bytes = `HTTP/1.1 200 OK\r\n__proto__: a\r\nx-ok: \xe4\r\n${JSON_TYPE}content-length: 2\r\nx-seam-failed: users\r\n\r\n{}`
  const answer = await api.get(path)
  t.match([answer.status, answer.headers['x-ok'], answer.headers['x-seam-failed']], [200, 'ä', undefined])
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen`
  t.equal((await api.get(path)).text, '{}', 'what nobody asked for is nobody’s answer')
  t.equal((await api.get(path)).text, '{}')
})

t.test('what speaks of the connection to the module is not passed back', async (t) => {
  const lines = ['connection: keep-alive, x-hop', 'keep-alive: timeout=9', 'x-hop: 1', 'trailer: x-after', 'x-kept: 1']
  const bytes = `HTTP/1.1 200 OK\r\n${lines.join('\r\n')}\r\nproxy-authenticate: Basic\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-after: 1\r\n\r\n`
  const { url } = await startEdge(t, [await answering(t, () => bytes)])
  const { headers, trailers } = await new Promise<{ headers: object; trailers: object }>((resolve) => {
    request(`${url}${path}`, (response) => response.resume().on('end', () => resolve(response))).end()
  })
  t.match(headers, { 'x-kept': '1', connection: 'keep-alive', 'keep-alive': 'timeout=75' })
  for (const name of ['x-hop', 'trailer', 'proxy-authenticate']) t.notOk(name in headers, name)
  t.strictSame(trailers, {})
})

t.test('answers without a body keep their headers and have none', async (t) => {
  let bytes = ''
  const { api } = await startEdge(t, [await answering(t, () => bytes)])
  bytes = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n'
  t.match(await api.get(path), { status: 304, text: '', headers: { etag: '"1"' } })
  bytes = 'HTTP/1.1 204 No Content\r\nx-kept: 1\r\n\r\n'
  t.match(await api.send('DELETE', path), { status: 204, text: '', headers: { 'x-kept': '1' } })
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}content-length: 1234\r\n\r\n`
  t.match(await api.send('HEAD', path), { status: 200, text: '', headers: { 'content-length': '1234' } })
  bytes = `HTTP/1.1 200 OK\r\n${JSON_TYPE}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`
  t.match(await api.get(path), { status: 200, text: '' })
  bytes = 'HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nhidden'
  t.match(await api.get(path), { status: 204, text: '' })
})

t.test('every byte of a small answer is kept, in the head as in the body', async (t) => {
  let bytes = Buffer.alloc(0)
  const { api, url } = await startEdge(t, [
    await listen(t, (socket) => void socket.once('data', () => socket.end(bytes))),
  ])
  const bodies = {
    ASCII: 'x',
    'a zero': '\0',
    umlauts: 'äöü',
    'no UTF-8 at all': '\xff\xfe',
    nothing: '',
    long: 'x'.repeat(5_000),
  }
  for (const [what, body] of Object.entries(bodies)) {
    for (const value of ['plain', 'ä']) {
      const head = `HTTP/1.1 200 OK\r\n${JSON_TYPE}x-value: ${value}\r\ncontent-length: ${body.length}\r\n\r\n`
      bytes = Buffer.from(head + body, 'latin1')
      const answer = await fetch(url + path, { headers: { 'accept-encoding': 'gzip' } })
      t.equal(Buffer.from(await answer.arrayBuffer()).toString('latin1'), body, what)
      const { 'content-type': type, 'x-value': passed, vary } = (await api.get(path)).headers
      t.strictSame([type, passed, vary], ['application/json', value, undefined], `${what}, the head: ${value}`)
    }
  }
})

t.test('cookies are set one by one', async (t) => {
  const bytes = 'HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n'
  const { api } = await startEdge(t, [await answering(t, () => bytes)])
  t.strictSame((await api.get(path)).headers['set-cookie'], ['a=1', 'b=2'])
})

t.test('an answer that drips is given up at the deadline', async (t) => {
  const drip = async (head: string) =>
    listen(t, (socket) => {
      socket.once('data', () => {
        socket.write(head)
        const timer = setInterval(() => socket.write('x'), 10)
        socket.on('close', () => clearInterval(timer))
      })
    })
  const late = { status: 503, code: 'DeadlineExceeded', module: 'posts', path }
  const header = await startEdge(t, [await drip('HTTP/1.1 200 OK\r\nx: ')])
  refused(t, await header.api.get(path, { headers: within(150) }), late, 'in a header')
  const small = await startEdge(t, [await drip('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n')])
  refused(t, await small.api.get(path, { headers: within(150) }), late, 'in a small body')
  const large = await startEdge(t, [await drip(`HTTP/1.1 200 OK\r\ncontent-length: ${MIB}\r\n\r\n`)])
  await t.rejects(large.api.get(path, { headers: within(150) }), 'a large one is cut off')
})

t.test('a module is not read faster than its client reads', async (t) => {
  let written = 0
  const size = 64 * MIB
  const instance = await upstream(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': size })
    const write = () => {
      while (written < size) {
        written += MIB
        if (!response.write(Buffer.alloc(MIB))) return
      }
      response.end()
    }
    response.on('drain', write)
    write()
  })
  const { url } = await startEdge(t, [instance.url])
  const socket = new Socket()
  socket.connect(Number(new URL(url).port), '127.0.0.1')
  let received = 0
  socket.once('data', (chunk) => {
    received += chunk.length
    socket.pause()
  })
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
  await until('it has begun', () => received > 0)
  let before = -1
  await until('nothing moves any more', () => {
    const isStill = written === before
    before = written
    return isStill
  })
  t.ok(written < size / 2, `${written / MIB} MiB were taken`)
  socket.on('data', (chunk) => (received += chunk.length))
  socket.resume()
  await until('all has arrived', () => received > size)
  socket.destroy()
})
