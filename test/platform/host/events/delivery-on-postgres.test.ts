import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import pino from 'pino'
import t from 'tap'
import { migratePostgresTransport, postgresTransport } from '../../../../src/platform/host/events/bullmq-transport.ts'
import { freshDatabase } from '../../../support/database.ts'
import { freePorts } from '../../../support/ports.ts'
import { deliverySuite } from './delivery-suite.ts'

t.setTimeout(580_000)
t.test('how many messages wait is known again when the queue was away at first', async (t) => {
  const database = await freshDatabase()
  await migratePostgresTransport(database.url)
  const [port] = await freePorts(1)
  const { hostname, port: realPort } = new URL(database.url)
  const url = new URL(database.url)
  url.port = String(port)
  const transport = postgresTransport(url.href, pino({ level: 'silent' }))
  const between = createServer((socket) => {
    const there = connect(Number(realPort), hostname)
    for (const end of [socket, there]) end.on('error', () => {})
    socket.pipe(there).pipe(socket)
  })
  t.teardown(async () => {
    await transport.close()
    between.close()
    await database.close()
  })
  await t.rejects(transport.waiting('beta'))
  between.listen(port, '127.0.0.1')
  await once(between, 'listening')
  t.equal(await transport.waiting('beta'), 0)
})

await deliverySuite(t, 'postgres')
