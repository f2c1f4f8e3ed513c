import type { ChannelModel } from 'amqplib'
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../../within.ts'

/** Milliseconds until a broker that does not answer counts as away, and between attempts to reach it. */
const PATIENCE = { connect: 5_000, close: 1_000, first: 200, most: 10_000 }
/** Seconds between signs of life, if the URL does not say otherwise; two that are missing end a connection. */
const HEARTBEAT = 10

/** A connection to a broker that is made again, and again, whenever it is lost. */
export interface AmqpConnection {
  /** Within 1 s. */
  close(): Promise<void>
}

/**
 * Connects to a broker and stays connected. The URL is never logged: there is a password in it.
 *
 * @param options.setUp makes what is needed on each new connection; when it fails, the connection is made again later
 * @param options.lost hears each time that the connection is no more
 */
export async function connectAmqp(
  url: string,
  options: { log: FastifyBaseLogger; setUp: (connection: ChannelModel) => Promise<void>; lost?: () => void },
): Promise<AmqpConnection> {
  const { log, setUp: setup, lost } = options
  // Loaded when it is first needed: most processes have no broker.
  const { connect } = await import('amqplib')
  const address = new URL(url)
  if (!address.searchParams.has('heartbeat')) address.searchParams.set('heartbeat', String(HEARTBEAT))
  const { first: initialDelay, most: maxDelay } = PATIENCE
  const connection = await connect(address.href, {
    timeout: PATIENCE.connect,
    clientProperties: { connection_name: 'seam' },
    recovery: { initialDelay, maxDelay, setup, waitForConnect: false },
  })
  // One line for each time that it goes, however long it is away.
  let isAway = false
  const away = (error: Error) => {
    lost?.()
    if (isAway) return log.debug({ err: error }, 'RabbitMQ')
    isAway = true
    log.warn({ err: error }, 'RabbitMQ cannot be used (EVENTS_AMQP_URL); it is tried again until it can')
  }
  connection.on('connect-failed', away)
  connection.on('disconnect', away)
  connection.on('connect', () => {
    if (isAway) log.info('RabbitMQ can be used again')
    isAway = false
  })
  for (const event of ['error', 'handler-error'])
    connection.on(event, (error: Error) => log.debug({ err: error }, 'RabbitMQ'))
  return {
    async close() {
      await within(PATIENCE.close, connection.close()).catch(() => {})
    },
  }
}

/** Has a connection made anew when one of its channels ends: each of them has only what it was set up with. */
export function endWithChannel(
  connection: ChannelModel,
  channel: { on(event: string, tell: () => void): unknown },
): void {
  channel.on('error', () => {})
  channel.on(
    'close',
    () =>
      void Promise.resolve()
        .then(() => connection.close())
        .catch(() => {}),
  )
}
