import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { defineContract } from '../src/platform/kit/contract.ts'
import { moduleOf } from './platform/host/boot.ts'
import { startTopology } from './support/topology.ts'

t.test('a client that never ends its request does not hold up the end of the process', async (t) => {
  const topology = await startTopology()
  const { port, hostname } = new URL(topology.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    'POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"ema',
  )
  await new Promise((resolve) => setTimeout(resolve, 100))
  const before = performance.now()
  await topology.close()
  t.ok(performance.now() - before < 8_000)
  socket.destroy()
})

t.test('what takes long is answered before the process ends', async (t) => {
  const mill = moduleOf(defineContract('mill', { routes: ['/api/mill'] }), async (app) => {
    app.get('/api/mill', { config: { allow: 'anyone' } }, async () => {
      await sleep(5_000)
      return { data: 'flour' }
    })
  })
  const topology = await startTopology({ catalogue: [mill] })
  const answer = fetch(`${topology.url}/api/mill`)
  await sleep(100)
  await topology.close()
  t.strictSame(await (await answer).json(), { data: 'flour' })
})

t.test('a process that is asked to end while it starts ends, and does not say that it is ready', async (t) => {
  const topology = await startTopology({ start: false })
  const app = topology.apps.get('main')!
  const listening = app.listen()
  const closed = app.close()
  await listening.catch(() => {})
  await closed
  t.notOk(app.api.server.listening)
  await topology.close()
})
