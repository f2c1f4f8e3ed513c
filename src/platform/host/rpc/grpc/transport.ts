import { Channel, connectivityState, credentials, Metadata, status } from '@grpc/grpc-js'
import { DeadlineExceeded, Unavailable } from '../../../kit/errors.ts'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { RemoteCall, Transport } from '../remote-call.ts'
import { IDENTITY_HEADER, MAX_OUTPUT, SERVICE_HEADER } from '../wire.ts'
import { grpcTarget } from './address.ts'
import { LARGER } from './limits.ts'
import { type Method, serviceOf } from './service.ts'
import { decodeStatus } from './status.ts'

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

/** Calls by gRPC: one HTTP/2 connection to each instance. */
export class GrpcTransport implements Transport {
  readonly #channels = new Map<string, { channel: Channel; usedAt: number }>()
  readonly #underWay = new Set<() => void>()
  readonly #tokens: SystemTokens
  readonly #rpcPort: number | undefined

  /** @param options.rpcPort `RPC_PORT`, if it is set */
  constructor(options: { tokens: SystemTokens; rpcPort?: number | undefined }) {
    this.#tokens = options.tokens
    this.#rpcPort = options.rpcPort
  }

  async send(instance: Instance, call: RemoteCall): Promise<unknown> {
    const module = call.contract.name
    const method = serviceOf(call.contract).methods[call.name]!
    const message = method.request.encode(call.body)
    const answer = await this.#exchange(this.#channelTo(module, instance.origin), method, message, call)
    try {
      return method.response.decode(answer)
    } catch (cause) {
      throw new Unavailable(module, { cause })
    }
  }

  async close(): Promise<void> {
    for (const cancel of this.#underWay) cancel()
    for (const { channel } of this.#channels.values()) channel.close()
    this.#channels.clear()
  }

  #channelTo(module: string, origin: string): Channel {
    const now = performance.now()
    const known = this.#channels.get(origin)
    if (known) {
      known.usedAt = now
      return known.channel
    }
    for (const [other, { channel, usedAt }] of this.#channels) {
      if (now - usedAt < IDLE) continue
      channel.close()
      this.#channels.delete(other)
    }
    try {
      const { target, isSecure } = grpcTarget(origin, this.#rpcPort)
      const channel = new Channel(target, isSecure ? credentials.createSsl() : credentials.createInsecure(), OPTIONS)
      this.#channels.set(origin, { channel, usedAt: now })
      return channel
    } catch (cause) {
      throw new Unavailable(module, { cause })
    }
  }

  /** Sends one message, and resolves with the one that comes back. */
  #exchange(channel: Channel, method: Method, request: Buffer, call: RemoteCall): Promise<Buffer> {
    const { context, contract } = call
    const module = contract.name
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    let sent: ReturnType<Channel['createCall']> | undefined
    const end = (settle: () => void) => {
      context.forget(waiter)
      this.#underWay.delete(closed)
      settle()
    }
    const cancel = (error: Error) =>
      end(() => {
        reject(error)
        sent?.cancelWithStatus(status.CANCELLED, 'Nobody waits for the answer any more.')
      })
    const closed = () => cancel(new Unavailable(module))
    const waiter = { expire: () => cancel(new DeadlineExceeded(module)) }
    this.#underWay.add(closed)
    context.await(waiter)
    connected(channel, (isThere) => {
      if (!this.#underWay.has(closed)) return
      if (!isThere)
        return cancel(new Unavailable(module, { cause: new Error(`No connection within ${CONNECT_TIMEOUT} ms.`) }))
      let answer: Buffer | undefined
      let answers = 0
      sent = channel.createCall(method.path, Date.now() + context.remaining(), null, null, null)
      sent.start(this.#metadata(call), {
        onReceiveMetadata() {},
        onReceiveMessage(message: Buffer) {
          answers++
          answer ??= message
          sent!.startRead()
        },
        onReceiveStatus: (outcome) =>
          end(() => {
            if (outcome.code !== status.OK) reject(decodeStatus(call, outcome, answer))
            else if (answer && answers === 1) resolve(answer)
            else reject(new Unavailable(module, { cause: new Error(`${answers} messages came as the answer.`) }))
          }),
      })
      sent.sendMessageWithContext({}, request)
      sent.halfClose()
      sent.startRead()
    })
    return promise
  }

  #metadata({ caller, contract, context }: RemoteCall): Metadata {
    const metadata = new Metadata()
    metadata.set(SERVICE_HEADER, this.#tokens.service.sign(contract.name, { caller }))
    metadata.set('x-request-id', context.requestId)
    metadata.set('traceparent', context.traceparent)
    if (context.identity)
      metadata.set(IDENTITY_HEADER, this.#tokens.identity.sign(contract.name, { identity: context.identity }))
    return metadata
  }
}

/** Waits for an attempt to connect to end, but not long. A channel that has failed to connect fails its calls at once. */
function connected(channel: Channel, then: (isThere: boolean) => void): void {
  const until = Date.now() + CONNECT_TIMEOUT
  const look = () => {
    const state = channel.getConnectivityState(true)
    if (state !== connectivityState.IDLE && state !== connectivityState.CONNECTING) return then(true)
    channel.watchConnectivityState(state, until, (error) => (error ? then(false) : look()))
  }
  look()
}
