import { Channel, connectivityState, credentials } from '@grpc/grpc-js'
import { MAX_OUTPUT } from '../wire.ts'
import { grpcTarget } from './address.ts'
import { LARGER } from './limits.ts'

/** How long a call waits for a connection, in milliseconds. */
const CONNECT_TIMEOUT = 2_000
/** After how long a channel that nobody has used is closed, in milliseconds; no call lasts as long. */
const IDLE = 120_000

// Retries, balancing and the pace of attempts are decided in one place, the stack; here a call is sent once. Proxies of the
// environment and TXT records are not for calls between processes.
const OPTIONS = {
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
  'grpc.max_send_message_length': -1,
  'grpc.max_receive_message_length': LARGER * MAX_OUTPUT,
}

/** One HTTP/2 connection to each instance, made when it is first called. */
export class Channels {
  readonly #known = new Map<string, { channel: Channel; usedAt: number }>()
  readonly #rpcPort: number | undefined
  #closed = false

  /** @param rpcPort `RPC_PORT`, if it is set */
  constructor(rpcPort: number | undefined) {
    this.#rpcPort = rpcPort
  }

  /** @throws {Error} when nothing can be at such an address, or these are closed */
  to(origin: string): Channel {
    // A call may be repeated after that; nobody would close what is made for it.
    if (this.#closed) throw new Error('This process makes no calls any more.')
    const now = performance.now()
    const known = this.#known.get(origin)
    if (known) {
      known.usedAt = now
      return known.channel
    }
    this.#closeIdle(now)
    const { target, isSecure } = grpcTarget(origin, this.#rpcPort)
    const channel = new Channel(target, isSecure ? credentials.createSsl() : credentials.createInsecure(), OPTIONS)
    this.#known.set(origin, { channel, usedAt: now })
    return channel
  }

  close(): void {
    this.#closed = true
    for (const { channel } of this.#known.values()) channel.close()
    this.#known.clear()
  }

  /** Instances come and go; a channel to one that has gone would be kept for ever. */
  #closeIdle(now: number): void {
    for (const [origin, { channel, usedAt }] of this.#known) {
      if (now - usedAt < IDLE) continue
      channel.close()
      this.#known.delete(origin)
    }
  }
}

/** Calls back when there is a connection, or with an error when there was none to be had, or it takes long. */
export function whenConnected(channel: Channel, then: (error?: Error) => void): void {
  const until = Date.now() + CONNECT_TIMEOUT
  const look = () => {
    // One that is closed would still connect, if it were asked to.
    if (channel.getConnectivityState(false) === connectivityState.SHUTDOWN) return then(new Error('It is closed.'))
    const state = channel.getConnectivityState(true)
    if (state === connectivityState.TRANSIENT_FAILURE) then(new Error('It cannot be connected to.'))
    else if (state !== connectivityState.IDLE && state !== connectivityState.CONNECTING) then()
    else channel.watchConnectivityState(state, until, (error) => (error ? then(error) : look()))
  }
  look()
}
