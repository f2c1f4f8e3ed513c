import {
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerWritableStream,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import type { Contract } from '../../../kit/contract.ts'
import { BadInput, CallFailed, DeadlineExceeded, SeamError } from '../../../kit/errors.ts'
import type { Identity } from '../../../kit/permissions.ts'
import { codecOf } from '../../codec.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import { DEFAULT_TIMEOUT, RequestContext } from '../../request-context.ts'
import { within } from '../../within.ts'
import type { Offer } from '../http/server.ts'
import type { Procedures } from '../procedures.ts'
import { IDENTITY_HEADER, MAX_INPUT, MAX_OUTPUT, SERVICE_HEADER } from '../wire.ts'
import { LARGER } from './limits.ts'
import { type Method, serviceOf } from './service.ts'
import { encodeStatus } from './status.ts'

const OPTIONS = {
  'grpc.max_receive_message_length': LARGER * MAX_INPUT,
  'grpc.max_send_message_length': -1,
  'grpc.max_concurrent_streams': 1_000,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
}

type Refusal = Pick<StatusObject, 'code' | 'details'> & { metadata?: Metadata }

type Call = ServerWritableStream<Buffer, Buffer>

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
    const gate: ServerInterceptor = ({ path }, call) =>
      new ServerInterceptingCall(call, {
        start: (next) =>
          next({
            onReceiveMetadata: (metadata, pass) =>
              this.#callerOf(path, metadata) ? pass(metadata) : call.sendStatus(unimplemented(path)),
          }),
      })
    this.#server = new Server({ ...OPTIONS, interceptors: [gate] })
  }

  /** Serves the procedures of a contract. */
  serve(offer: Offer): void {
    const { contract } = offer
    for (const [name, method] of Object.entries(serviceOf(contract).methods)) {
      this.#offers.set(method.path, offer)
      const answer = this.#answer(contract, name, method)
      const same = (message: Buffer) => message
      // To the far side it looks unary. A stream can give a message before the status of an error: see status.ts.
      this.#server.register(
        method.path,
        (call: Call) => this.#handle(call, method.path, answer),
        same,
        same,
        'serverStream',
      )
    }
  }

  /**
   * @returns the port, also where the system was to choose one (0)
   * @throws {Error} with `EADDRINUSE` in its message, or whatever else is wrong with the address
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

  #callerOf(path: string, metadata: Metadata): { identity: Identity | null } | undefined {
    const { contract, mayCall } = this.#offers.get(path)!
    const token = textOf(metadata, SERVICE_HEADER)
    const claims = token === undefined ? undefined : this.#tokens.service.verify(contract.name, token)
    if (!claims || !mayCall(claims.caller)) return undefined
    if (metadata.get(IDENTITY_HEADER).length === 0) return { identity: null }
    return this.#tokens.identity.verify(contract.name, textOf(metadata, IDENTITY_HEADER) ?? '')
  }

  #handle(call: Call, path: string, answer: (request: Buffer, context: RequestContext) => Promise<Answer>): void {
    const caller = this.#callerOf(path, call.metadata)
    if (!caller) {
      call.emit('error', unimplemented(path))
      return
    }
    const context = contextOf(call)
    context.identity = caller.identity
    let answered = false
    const give = ({ message, refusal }: Answer) => {
      if (answered) return
      answered = true
      context.forget(late)
      if (!call.cancelled) {
        if (message) call.write(message)
        if (refusal) call.emit('error', refusal)
        else call.end()
      }
      context.end()
    }
    const { contract } = this.#offers.get(path)!
    const late = { expire: () => give(refusalOf(new DeadlineExceeded(contract.name))) }
    context.await(late)
    call.on('cancelled', () => context.end())
    void context.run(() => answer(call.request, context)).then(give)
  }

  #answer(contract: Contract, name: string, method: Method) {
    const module = contract.name
    const procedure = contract.procedures[name]!
    const [input, output] = [codecOf(procedure.input), codecOf(procedure.output)]
    const target = this.#procedures.target(module, contract, name)
    return async (request: Buffer, context: RequestContext): Promise<Answer> => {
      try {
        const value = decode(module, method, request)
        if (!input.check(value)) throw new BadInput(module, input.faults(value))
        const json = output.encode(await target.invoke(value, context))
        if (json.length > MAX_OUTPUT) throw new CallFailed(module, name)
        return { message: method.response.encode(json) }
      } catch (error) {
        const known = target.failure(error)
        return refusalOf(known instanceof SeamError ? known : new CallFailed(module, name))
      }
    }
  }
}

interface Answer {
  message?: Buffer | undefined
  refusal?: Refusal
}

function refusalOf(error: SeamError): Answer {
  const { status: refusal, message } = encodeStatus(error)
  return { refusal, message }
}

function contextOf(call: Call): RequestContext {
  const { metadata } = call
  const deadline = Number(call.getDeadline())
  return RequestContext.received({
    requestId: textOf(metadata, 'x-request-id') ?? '',
    traceparent: textOf(metadata, 'traceparent') ?? '',
    timeout: Number.isFinite(deadline) ? Math.max(1, deadline - Date.now()) : DEFAULT_TIMEOUT,
  })
}

function decode(module: string, { request }: Method, message: Buffer): unknown {
  try {
    return request.decode(message)
  } catch (error) {
    throw new BadInput(module, [{ path: '', message: (error as Error).message }])
  }
}

/** The one value of a key; whoever says two things says nothing. */
function textOf(metadata: Metadata, key: string): string | undefined {
  const [value, ...more] = metadata.get(key)
  return typeof value === 'string' && more.length === 0 ? value : undefined
}

/** What grpc-js answers for a method that nobody serves, to the letter: it does not encode the message of that status. */
function unimplemented(path: string): Refusal {
  const details = `The server does not implement the method ${path}`
  const metadata = new Metadata()
  metadata.set('grpc-message', details)
  return { code: status.UNIMPLEMENTED, details, metadata }
}
