import { type Channel, Metadata, status } from '@grpc/grpc-js'
import { CallFailed, DeadlineExceeded, Unavailable } from '../../../kit/errors.ts'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import { NotSent, type RemoteCall, type Transport } from '../remote-call.ts'
import { IDENTITY_HEADER, SERVICE_HEADER } from '../wire.ts'
import { Channels, whenConnected } from './channels.ts'
import { IDEMPOTENCY_METADATA } from './metadata.ts'
import { serviceOf } from './service.ts'
import { decodeStatus } from './status.ts'

/** Calls by gRPC. */
export class GrpcTransport implements Transport {
  readonly #tokens: SystemTokens
  readonly #channels: Channels
  /** Ends each call that is under way. */
  readonly #endings = new Set<() => void>()

  /** @param options.rpcPort `RPC_PORT`, if it is set */
  constructor(options: { tokens: SystemTokens; rpcPort?: number | undefined }) {
    this.#tokens = options.tokens
    this.#channels = new Channels(options.rpcPort)
  }

  async send(instance: Instance, call: RemoteCall): Promise<unknown> {
    const method = serviceOf(call.contract).methods[call.name]!
    const request = method.request.encode(call.body)
    const answer = await this.#exchange(this.#channelTo(instance, call), method.path, request, call)
    try {
      return method.response.decode(answer)
    } catch (cause) {
      throw new Unavailable(call.contract.name, { cause })
    }
  }

  async close(): Promise<void> {
    for (const end of this.#endings) end()
    this.#channels.close()
  }

  #channelTo({ origin }: Instance, { contract }: RemoteCall): Channel {
    try {
      return this.#channels.to(origin)
    } catch (cause) {
      throw new Unavailable(contract.name, { cause: new NotSent((cause as Error).message, { cause }) })
    }
  }

  /** Sends one message, and resolves with the one that comes back. */
  #exchange(channel: Channel, path: string, request: Buffer, call: RemoteCall): Promise<Buffer> {
    const module = call.contract.name
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    let sent: ReturnType<Channel['createCall']> | undefined
    let over = false
    const end = () => {
      over = true
      call.context.forget(waiter)
      this.#endings.delete(closed)
    }
    const giveUp = (error: Error) => {
      end()
      reject(error)
      sent?.cancelWithStatus(status.CANCELLED, 'Nobody waits for the answer any more.')
    }
    const closed = () => giveUp(new Unavailable(module))
    const waiter = { expire: () => giveUp(new DeadlineExceeded(module)) }
    const answers: Buffer[] = []
    let headers = false
    this.#endings.add(closed)
    call.context.await(waiter)
    whenConnected(channel, (cause) => {
      if (over) return
      if (cause) return giveUp(new Unavailable(module, { cause: new NotSent(cause.message, { cause }) }))
      let metadata: Metadata
      try {
        metadata = this.#metadata(call)
      } catch (cause) {
        return giveUp(new CallFailed(module, call.name, { cause }))
      }
      // Without a deadline here: the request has the only timer of it.
      sent = channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null)
      sent.start(metadata, {
        onReceiveMetadata() {
          headers = true
        },
        onReceiveMessage(message: Buffer) {
          answers.push(message)
          if (answers.length > 1) giveUp(new Unavailable(module, { cause: new Error('It gives two answers.') }))
          else sent!.startRead()
        },
        onReceiveStatus(outcome) {
          if (over) return
          end()
          const [answer] = answers
          if (outcome.code !== status.OK) reject(decodeStatus(call, outcome, { headers, message: answer }))
          else if (answer) resolve(answer)
          else reject(new Unavailable(module, { cause: new Error('It gives no answer.') }))
        },
      })
      sent.sendMessageWithContext({}, request)
      sent.halfClose()
      sent.startRead()
    })
    return promise
  }

  #metadata({ caller, contract, context, idempotencyKey }: RemoteCall): Metadata {
    const metadata = new Metadata()
    metadata.set('grpc-timeout', `${context.remaining()}m`)
    metadata.set(SERVICE_HEADER, this.#tokens.service.sign(contract.name, { caller }))
    metadata.set('x-request-id', context.requestId)
    metadata.set('traceparent', context.traceparent)
    if (context.identity)
      metadata.set(IDENTITY_HEADER, this.#tokens.identity.sign(contract.name, { identity: context.identity }))
    if (idempotencyKey !== undefined) metadata.set(IDEMPOTENCY_METADATA, idempotencyKey)
    return metadata
  }
}
