import t from 'tap'
import { Refused } from '../../../src/modules/notifications/delivery.ts'
import { isPublicHost, outside } from '../../../src/modules/notifications/outside.ts'
import { startEndpoint } from '../../support/endpoint.ts'

t.test('what a name leads to is judged for the very connection', async (t) => {
  const endpoint = await startEndpoint()
  t.teardown(() => endpoint.close())
  const guarded = outside({ anywhere: false })
  const free = outside({ anywhere: true })
  t.teardown(() => Promise.all([guarded.close(), free.close()]))
  const { port } = new URL(endpoint.url)
  const signal = AbortSignal.timeout(10_000)
  await free.post(`http://localhost:${port}/free`, {}, 'x', signal)
  t.equal(endpoint.received.length, 1)
  for (const host of ['127.0.0.1', 'localhost']) {
    const error = await guarded.post(`http://${host}:${port}/guarded`, {}, 'x', signal).catch((error) => error)
    t.ok(error instanceof Refused, `${host}: ${error}`)
  }
  t.equal(endpoint.received.length, 1, 'nothing was sent')
})

t.test('public hosts', async (t) => {
  for (const host of ['example.com', '8.8.8.8', '[2a00:1450::1]', '172.32.0.1', '192.169.0.1'])
    t.ok(isPublicHost(host), host)
  for (const host of ['127.8.9.1', '[::]', '[::ffff:7f00:1]', '[2001:db8::1]']) t.notOk(isPublicHost(host), host)
})
