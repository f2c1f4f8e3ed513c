import { randomBytes } from 'node:crypto'
import pino from 'pino'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import type { Message, Transport } from '../../../../src/platform/host/events/delivery.ts'
import { publish } from '../../../../src/platform/host/events/outbox.ts'
import { createRelay } from '../../../../src/platform/host/events/relay.ts'
import { eventDatabase } from '../../../support/event-database.ts'
import { alpha } from '../../../support/event-host.ts'
import { until } from '../../../support/until.ts'

/** A relay whose messages go where a test says. */
async function start(t: Test, send: (messages: readonly Message[]) => Promise<void>, statementTimeout = 10_000) {
  const { db, sql, url } = await eventDatabase(t, 'alpha')
  const connection = { search_path: 'alpha', statement_timeout: statementTimeout }
  const own = postgres(url, { max: 4, connection: connection as object, onnotice: () => {} })
  let outside = 0
  const relay = createRelay('alpha', {
    db: own,
    transport: { send: (_module: string, messages: readonly Message[]) => send(messages) } as unknown as Transport,
    log: pino({ level: 'silent' }),
    onOutside: () => outside++,
  })
  t.teardown(async () => {
    await relay.stop()
    await own.end({ timeout: 1 })
  })
  return {
    sql,
    relay,
    outside: () => outside,
    publish: async (n: number, text = '') => {
      const subscribers = [{ name: 'beta' }, { name: 'webhook:crm' }]
      await db.transaction((tx) => publish(tx, alpha.events.happened, { key: `k${n % 10}`, n, text }, subscribers))
      relay.wake()
    },
  }
}

const numbersIn = (messages: readonly Message[]) =>
  messages.flatMap((message) =>
    message.kind === 'events' ? message.events.map(({ data }) => (data as { n: number }).n) : [],
  )

t.test(
  'events that are too large to be moved on together in the time of a statement are moved on by and by',
  async (t) => {
    const sent: number[] = []
    const system = await start(t, async (messages) => void sent.push(...numbersIn(messages)), 150)
    await Promise.all(Array.from({ length: 120 }, (_, n) => system.publish(n, randomBytes(100_000).toString('hex'))))
    system.relay.start()
    await until('all', () => new Set(sent).size === 120, 60_000)
  },
)

t.test('while the queue does not answer, events are numbered all the same and systems outside are told', async (t) => {
  const sent: number[] = []
  const { promise: open, resolve: release } = Promise.withResolvers<void>()
  const system = await start(t, async (messages) => {
    await open
    sent.push(...numbersIn(messages))
  })
  system.relay.start()
  for (let n = 0; n < 6; n++) {
    await system.publish(n)
    await until('its number', async () => (await system.sql`select from outbox`).length === n + 1)
  }
  t.ok(system.outside() >= 6)
  release()
  await until('all', () => new Set(sent).size === 6)
})
