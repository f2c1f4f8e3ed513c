import { type Static, Type } from 'typebox'
import { Agent, request } from 'undici'
import { createAjv } from '../ajv.ts'
import type { Endpoint } from './discovery.ts'

/** How long the agent may take to answer, in milliseconds. */
const TIMEOUT = 2_000
/**
 * How long it may hold a question back while nothing changes, in seconds; it adds a sixteenth at most. One that has begun
 * to count anew would hold back so long what asks for a number of the past.
 */
const WAIT = 20
const MOST_BYTES = 8 * 1024 * 1024

/** A service of this process, as the agent is told of it. */
export interface Service {
  readonly id: string
  readonly name: string
  readonly address: string
  readonly port: number
  readonly opsPort: number
  readonly weight: number
}

/** What is read of an answer; there is more in it. */
const Healthy = Type.Array(
  Type.Object({
    Node: Type.Object({ Address: Type.String() }),
    Service: Type.Object({
      Address: Type.String(),
      Port: Type.Integer(),
      Weights: Type.Optional(Type.Object({ Passing: Type.Number({ minimum: 0 }) })),
    }),
  }),
)

const isHealthy = createAjv().compile<Static<typeof Healthy>>(Healthy)

/** The HTTP API of a Consul agent, as far as it is needed. Everything rejects with an Error that says what was wrong. */
export class ConsulAgent {
  readonly #url: string
  readonly #token: string | undefined
  readonly #agent = new Agent({
    connectTimeout: TIMEOUT,
    headersTimeout: TIMEOUT,
    bodyTimeout: TIMEOUT,
    maxResponseSize: MOST_BYTES,
  })

  constructor(options: { url: string; token: string | undefined }) {
    this.#url = options.url
    this.#token = options.token
  }

  /** Also what is registered already may be; it is replaced. */
  async register(service: Service): Promise<void> {
    const at = (port: number) => `http://${hostOf(service.address)}:${port}`
    await this.#ask('PUT', '/v1/agent/service/register', {
      body: {
        ID: service.id,
        Name: service.name,
        Address: service.address,
        Port: service.port,
        Weights: { Passing: service.weight, Warning: 1 },
        Check: {
          Name: `${service.name} is ready`,
          HTTP: `${at(service.opsPort)}/readyz`,
          Interval: '2s',
          Timeout: '2s',
          // It is ready, or it would not register.
          Status: 'passing',
          DeregisterCriticalServiceAfter: '1m',
        },
      },
    })
  }

  async deregister(id: string): Promise<void> {
    await this.#ask('PUT', `/v1/agent/service/deregister/${encodeURIComponent(id)}`, { missing: true })
  }

  async isRegistered(id: string): Promise<boolean> {
    const { status } = await this.#ask('GET', `/v1/agent/service/${encodeURIComponent(id)}`, { missing: true })
    return status !== 404
  }

  /**
   * The healthy instances of a service.
   *
   * @param index what is known already: waits, not without end, until there is something newer; 0 waits for nothing
   * @see https://developer.hashicorp.com/consul/api-docs/features/blocking
   */
  async healthy(name: string, index: number): Promise<{ endpoints: Endpoint[]; index: number }> {
    const query = index > 0 ? `passing=true&index=${index}&wait=${WAIT}s` : 'passing=true'
    const { text, headers } = await this.#ask('GET', `/v1/health/service/${encodeURIComponent(name)}?${query}`, {
      timeout: index > 0 ? WAIT * 1_000 * (1 + 1 / 16) + TIMEOUT : TIMEOUT,
    })
    const entries: unknown = JSON.parse(text)
    if (!isHealthy(entries)) throw new Error('What answers for Consul has something else to say than instances.')
    return {
      endpoints: entries.flatMap(({ Node, Service }) => {
        const url = `http://${hostOf(Service.Address || Node.Address)}:${Service.Port}`
        // A service may be registered without a port.
        if (Service.Port <= 0 || !URL.canParse(url)) return []
        return [{ origin: new URL(url).origin, weight: Service.Weights?.Passing ?? 1, priority: 0 }]
      }),
      index: Number(headers['x-consul-index']) || 0,
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  async #ask(
    method: 'GET' | 'PUT',
    path: string,
    options: { body?: object; missing?: boolean; timeout?: number } = {},
  ) {
    const timeout = options.timeout ?? TIMEOUT
    const { statusCode, headers, body } = await request(`${this.#url}${path}`, {
      method,
      dispatcher: this.#agent,
      headersTimeout: timeout,
      signal: AbortSignal.timeout(timeout),
      headers: {
        ...(this.#token && { 'x-consul-token': this.#token }),
        ...(options.body && { 'content-type': 'application/json' }),
      },
      ...(options.body && { body: JSON.stringify(options.body) }),
    })
    const text = await body.text()
    if (statusCode === 200 || (options.missing && statusCode === 404)) return { status: statusCode, headers, text }
    throw new Error(`Consul answers ${method} ${path.split('?')[0]} with ${statusCode}: ${text.slice(0, 200)}`)
  }
}

const hostOf = (address: string): string => (address.includes(':') ? `[${address}]` : address)
