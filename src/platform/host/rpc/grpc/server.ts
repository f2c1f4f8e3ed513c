import {
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js'
import { Overloaded } from '../../../kit/errors.ts'
import type { Gate } from '../../admission.ts'
import { codecOf } from '../../codec.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { Caller } from '../../request-context.ts'
import { within } from '../../within.ts'
import type { Offer } from '../http/server.ts'
import type { Procedures } from '../procedures.ts'
import { IDENTITY_HEADER, MAX_INPUT, SERVICE_HEADER } from '../wire.ts'
import { LARGER } from './limits.ts'
import { textOf } from './metadata.ts'
import { type IncomingCall, type Refusal, ServedCall, type ServedProcedure } from './served-call.ts'
import { serviceOf } from './service.ts'
import { encodeStatus, unimplemented } from './status.ts'

const OPTIONS = {
  'grpc.max_receive_message_length': LARGER * MAX_INPUT,
  'grpc.max_send_message_length': -1,
  'grpc.max_concurrent_streams': 1_000,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
}

/**
 * Serves procedures of hosted modules to other processes by gRPC. To anyone without a valid service token of a module that
 * may call this one, no method exists.
 */
export class GrpcServer {
  readonly #offers = new Map<string, Offer>()
  readonly #procedures: Procedures
  readonly #tokens: SystemTokens
  readonly #server: Server
  #closing: Promise<void> | undefined

  constructor(options: { procedures: Procedures; tokens: SystemTokens }) {
    this.#procedures = options.procedures
    this.#tokens = options.tokens
    // Before anything of the message is read.
    const guard: ServerInterceptor = ({ path }, call) =>
      new ServerInterceptingCall(call, {
        start: (next) =>
          next({
            onReceiveMetadata: (metadata, pass) =>
              this.#callerOf(path, metadata) ? pass(metadata) : call.sendStatus(notServed(path)),
          }),
      })
    this.#server = new Server({ ...OPTIONS, interceptors: [guard] })
  }

  /**
   * Serves the procedures of a contract.
   *
   * @param gate lets no more calls in than the module takes on; what the platform itself asks always comes in
   */
  serve(offer: Offer, gate?: Gate): void {
    const { contract } = offer
    for (const [name, method] of Object.entries(serviceOf(contract).methods)) {
      const { input, output } = contract.procedures[name]!
      const procedure: ServedProcedure = {
        module: contract.name,
        name,
        method,
        input: codecOf(input),
        output: codecOf(output),
        target: this.#procedures.target(contract.name, contract, name),
        gate: name.startsWith('$') ? undefined : gate,
      }
      const same = (message: Buffer) => message
      this.#offers.set(method.path, offer)
      this.#server.register(
        method.path,
        (call: IncomingCall) => this.#handle(procedure, call),
        same,
        same,
        'serverStream',
      )
    }
  }

  /**
   * @returns the port, also where the system was to choose one (0)
   * @throws {Error} when the address is in use, or whatever else is wrong with it
   */
  listen(host: string, port: number): Promise<number> {
    const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      )
    })
  }

  /** Accepts nothing more, and lets calls under way end; what still goes on after `milliseconds` is cut off. */
  close(milliseconds: number): Promise<void> {
    this.#closing ??= this.#close(milliseconds)
    return this.#closing
  }

  async #close(milliseconds: number): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()))
    if (!(await within(milliseconds, ended))) this.#server.forceShutdown()
  }

  #handle(procedure: ServedProcedure, call: IncomingCall): void {
    const { method, module, gate } = procedure
    const caller = this.#callerOf(method.path, call.metadata)
    if (!caller) call.emit('error', notServed(method.path))
    else if (gate?.enter() === false) call.emit('error', encodeStatus(new Overloaded(module)).status)
    else new ServedCall(procedure, call, caller).run()
  }

  #callerOf(path: string, metadata: Metadata): Caller | undefined {
    const { contract, mayCall } = this.#offers.get(path)!
    const claims = this.#tokens.service.verify(contract.name, textOf(metadata, SERVICE_HEADER) ?? '')
    if (!claims || !mayCall(claims.caller)) return undefined
    const { caller } = claims
    if (metadata.get(IDENTITY_HEADER).length === 0) return { caller, identity: null }
    const user = this.#tokens.identity.verify(contract.name, textOf(metadata, IDENTITY_HEADER) ?? '')
    return user && { caller, identity: user.identity }
  }
}

/** What grpc-js answers for a method that nobody serves, to the letter: it does not encode the message of that status. */
function notServed(path: string): Refusal {
  const details = unimplemented(path)
  const metadata = new Metadata()
  metadata.set('grpc-message', details)
  return { code: status.UNIMPLEMENTED, details, metadata }
}
