import { Agent, type Dispatcher } from 'undici'
import type { Contract } from '../../kit/contract.ts'
import { BadInput, CallFailed, DeadlineExceeded, SeamError, Unavailable } from '../../kit/errors.ts'
import { codecOf, deepFreeze } from '../codec.ts'
import type { Discovery } from '../discovery/discovery.ts'
import type { SystemTokens } from '../identity/tokens.ts'
import type { RequestContext } from '../request-context.ts'
import type { Adapter, Target } from './target.ts'
import {
  decodeError,
  IDENTITY_HEADER,
  MAX_INPUT,
  MAX_OUTPUT,
  RPC_PREFIX,
  SERVICE_HEADER,
  TIMEOUT_HEADER,
} from './wire.ts'

/** The `http` adapter: a call is a POST over a pooled keep-alive connection to one of the module's instances. */
export class HttpAdapter implements Adapter {
  readonly #agent = new Agent({ connections: 64, pipelining: 1, keepAliveTimeout: 4_000, connectTimeout: 2_000 })
  readonly #discovery: Discovery
  readonly #tokens: SystemTokens
  readonly #strict: boolean

  constructor(options: { discovery: Discovery; tokens: SystemTokens; strict: boolean }) {
    this.#discovery = options.discovery
    this.#tokens = options.tokens
    this.#strict = options.strict
  }

  target(caller: string, contract: Contract, name: string): Target {
    const module = contract.name
    const procedure = contract.procedures[name]!
    const input = codecOf(procedure.input)
    const output = codecOf(procedure.output)
    const path = `${RPC_PREFIX}/${module}/${name}`

    return {
      // What is no error of Seam comes from an input that JSON cannot carry.
      failure: (error) => (error instanceof SeamError ? error : new CallFailed(module, name, { cause: error })),
      invoke: async (value, context) => {
        const headers: Record<string, string> = {
          'content-type': 'application/json',
          [SERVICE_HEADER]: this.#tokens.service.sign(module, { caller }),
          [TIMEOUT_HEADER]: String(context.remaining()),
          'x-request-id': context.requestId,
          traceparent: context.traceparent,
        }
        if (context.identity)
          headers[IDENTITY_HEADER] = this.#tokens.identity.sign(module, { identity: context.identity })
        const body = input.encode(value)
        if (Buffer.byteLength(body) > MAX_INPUT)
          throw new BadInput(module, [{ path: '', message: 'weighs more than 1 MiB' }])
        const { status, text } = await this.#post(module, path, headers, body, context)
        const answer = parse(module, text)
        if (status !== 200) throw decodeError(contract, name, answer)
        if (!output.check(answer)) {
          const faults = output.faults(answer).map((fault) => `${fault.path} ${fault.message}`)
          throw new CallFailed(module, name, {
            cause: new Error(`The answer is not what the contract says: ${faults.join(', ')}`),
          })
        }
        return this.#strict ? deepFreeze(answer) : answer
      },
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  #post(
    module: string,
    path: string,
    headers: Record<string, string>,
    body: string,
    context: RequestContext,
  ): Promise<Answer> {
    const origin = this.#discovery.pick(module)
    return new Promise((resolve, reject) => {
      let request: Dispatcher.DispatchController | undefined
      let expired = false
      const waiter = {
        expire() {
          expired = true
          request?.abort(new DeadlineExceeded(module))
        },
      }
      context.await(waiter)
      const chunks: Buffer[] = []
      let size = 0
      let status = 0
      this.#agent.dispatch(
        { origin, path, method: 'POST', headers, body },
        {
          onRequestStart(controller) {
            request = controller
            if (expired) controller.abort(new DeadlineExceeded(module))
          },
          onResponseStart(_controller, statusCode) {
            status = statusCode
          },
          onResponseData(controller, chunk) {
            size += chunk.length
            if (size > MAX_OUTPUT) controller.abort(new Error('The answer is larger than 8 MiB.'))
            else chunks.push(chunk)
          },
          onResponseEnd() {
            context.forget(waiter)
            resolve({ status, text: chunks.length === 1 ? chunks[0]!.toString() : Buffer.concat(chunks).toString() })
          },
          onResponseError(_controller, error) {
            context.forget(waiter)
            reject(error instanceof DeadlineExceeded ? error : new Unavailable(module, { cause: error }))
          },
        },
      )
    })
  }
}

interface Answer {
  status: number
  text: string
}

function parse(module: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Unavailable(module, { cause })
  }
}
