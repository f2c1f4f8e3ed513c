import { Agent, type Dispatcher } from 'undici'
import { DeadlineExceeded, Unavailable } from '../../../kit/errors.ts'
import type { Instance } from '../../balancing/instance.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { RequestContext } from '../../request-context.ts'
import type { RemoteCall, Transport } from '../remote-call.ts'
import { decodeError, IDENTITY_HEADER, MAX_OUTPUT, RPC_PREFIX, SERVICE_HEADER, TIMEOUT_HEADER } from '../wire.ts'

/** Calls by HTTP: each is a POST over a pooled keep-alive connection. */
export class HttpTransport implements Transport {
  readonly #agent = new Agent({ connections: 64, pipelining: 1, keepAliveTimeout: 4_000, connectTimeout: 2_000 })
  readonly #tokens: SystemTokens

  constructor(options: { tokens: SystemTokens }) {
    this.#tokens = options.tokens
  }

  async send(instance: Instance, call: RemoteCall): Promise<unknown> {
    const { caller, contract, name, context } = call
    const module = contract.name
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      [SERVICE_HEADER]: this.#tokens.service.sign(module, { caller }),
      [TIMEOUT_HEADER]: String(context.remaining()),
      'x-request-id': context.requestId,
      traceparent: context.traceparent,
    }
    if (context.identity) headers[IDENTITY_HEADER] = this.#tokens.identity.sign(module, { identity: context.identity })
    const path = `${RPC_PREFIX}/${module}/${name}`
    const { status, text } = await this.#post(instance.origin, module, path, headers, call.body, context)
    const answer = parse(module, text)
    if (status !== 200) throw decodeError(contract, name, answer)
    return answer
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  #post(
    origin: string,
    module: string,
    path: string,
    headers: Record<string, string>,
    body: string,
    context: RequestContext,
  ): Promise<Answer> {
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
