import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { refuseBrokenRequest } from '../../../../src/platform/host/http/broken-requests.ts'

t.test('what goes on and on without being HTTP gets one answer, and leaves no listeners behind', async (t) => {
  const server = createServer().on('clientError', refuseBrokenRequest)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection')
  const client = connect(port, '127.0.0.1').on('error', () => {})
  const [socket] = await accepted
  const before = socket.listenerCount('finish')
  let most = before

  let text = ''
  client.on('data', (chunk) => (text += chunk))
  const closed = once(client, 'close')
  server.on('clientError', () => (most = Math.max(most, socket.listenerCount('finish'))))
  for (let n = 0; n < 20; n++) {
    // Each is told to the server as an error of its own, before the answer to the first one has gone out.
    server.emit('clientError', Object.assign(new Error('Parse Error'), { code: 'HPE_INVALID_METHOD' }), socket)
  }
  await turn()
  await closed
  t.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.equal(text.split('HTTP/1.1 ').length - 1, 1, 'one answer')
  t.ok(most <= before + 1, `${most - before} listeners were added`)
})
