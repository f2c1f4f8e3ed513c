import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from './ports.ts'

/** A service as it is registered: https://developer.hashicorp.com/consul/api-docs/agent/service#register-service */
export interface RegisteredService {
  ID: string
  Name: string
  Address: string
  Port: number
  Weights: { Passing: number; Warning: number }
  Check?: { HTTP: string; Interval: string; Timeout: string; Status?: string; DeregisterCriticalServiceAfter: string }
  status: 'passing' | 'critical'
}

/**
 * A double of a Consul agent, by its documented HTTP API as far as discovery needs it: registration with an HTTP check,
 * healthy instances with blocking queries, ACL tokens.
 */
export interface Consul {
  readonly url: string
  /** Every request, as `GET /v1/health/service/users?passing=true`. */
  readonly requests: readonly string[]
  readonly services: ReadonlyMap<string, RegisteredService>
  /** Registers a service as somebody else would, or changes it. */
  add(service: Partial<RegisteredService> & { Name: string; Port: number }): string
  remove(id: string): void
  /** From now on each request is answered like this; undefined: as always. `hang`: not at all. */
  answer(with_: { status: number; text: string } | 'hang' | undefined): void
  /** Has the index begin anew, as after a restored snapshot; whoever waits is answered. */
  rewind(): void
  /** Wakes all who wait without a change of what they wait for, as it may happen. */
  wake(): void
  stop(): Promise<void>
  /** As `stop`, then starts on the same port; what was registered is lost, and the index begins anew. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** @param options.token what requests must carry as `X-Consul-Token` */
export async function startConsul(options: { token?: string; address?: string } = {}): Promise<Consul> {
  const [port] = await freePorts(1)
  const services = new Map<string, RegisteredService>()
  const requests: string[] = []
  const waiting = new Set<() => void>()
  let index = 100
  let special: { status: number; text: string } | 'hang' | undefined
  let server: Server | undefined
  let checks = new AbortController()

  const wake = () => {
    for (const go of [...waiting]) go()
  }
  const changed = () => {
    index++
    wake()
  }

  const check = async (service: RegisteredService, signal: AbortSignal) => {
    while (!signal.aborted && services.get(service.ID) === service) {
      // Consul's shortest interval is 1 s; here time goes ten times as fast.
      await sleep(seconds(service.Check!.Interval) * 100, undefined, { ref: false })
      const status = await fetch(service.Check!.HTTP, { signal: AbortSignal.timeout(1_000) }).then(
        async (answer) => {
          await answer.text()
          return answer.ok ? ('passing' as const) : ('critical' as const)
        },
        () => 'critical' as const,
      )
      if (signal.aborted || services.get(service.ID) !== service || service.status === status) continue
      service.status = status
      changed()
    }
  }

  const add: Consul['add'] = (given) => {
    const service: RegisteredService = {
      ID: given.ID ?? given.Name,
      Address: '',
      Weights: { Passing: 1, Warning: 1 },
      status: given.Check ? ((given.Check.Status as 'passing' | undefined) ?? 'critical') : 'passing',
      ...given,
    }
    services.set(service.ID, service)
    if (service.Check) void check(service, checks.signal)
    changed()
    return service.ID
  }
  const remove = (id: string) => {
    if (services.delete(id)) changed()
  }

  /** Waits until the index has passed the one that is known, at most as long as the client says. */
  const block = (known: number, wait: number) =>
    new Promise<void>((resolve) => {
      if (index > known) return resolve()
      const go = () => {
        clearTimeout(timer)
        waiting.delete(go)
        resolve()
      }
      const timer = setTimeout(go, wait * 1_000).unref()
      waiting.add(go)
    })

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://consul')
    const body = await text(request)
    requests.push(`${request.method} ${request.url}`)
    const say = (status: number, content: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json', 'x-consul-index': String(index) })
      response.end(typeof content === 'string' ? content : JSON.stringify(content))
    }
    if (special === 'hang') return
    if (special) return say(special.status, special.text)
    if (options.token && request.headers['x-consul-token'] !== options.token)
      return say(403, 'Permission denied: anonymous token lacks permission')
    const [, last = ''] = /\/([^/]+)$/.exec(pathname) ?? []
    const id = decodeURIComponent(last)
    if (request.method === 'PUT' && pathname === '/v1/agent/service/register') {
      const service = JSON.parse(body)
      if (!service.Name) return say(400, 'Missing service name')
      add({ ...service, ID: service.ID ?? service.Name })
      return say(200, '')
    }
    if (request.method === 'PUT' && pathname.startsWith('/v1/agent/service/deregister/')) {
      if (!services.has(id)) return say(404, `Unknown service ID "${id}"`)
      remove(id)
      return say(200, '')
    }
    if (request.method === 'GET' && pathname.startsWith('/v1/agent/service/')) {
      const service = services.get(id)
      return service ? say(200, { ID: id, Service: service.Name }) : say(404, `unknown service ID: ${id}`)
    }
    if (request.method === 'GET' && pathname.startsWith('/v1/health/service/')) {
      const known = Number(searchParams.get('index') ?? 0)
      if (known > 0) await block(known, seconds(searchParams.get('wait') ?? '300s'))
      const found = [...services.values()].filter(
        ({ Name, status }) => Name === id && (!searchParams.has('passing') || status === 'passing'),
      )
      return say(
        200,
        found.map(({ ID, Name, Address, Port, Weights, status }) => ({
          Node: { Node: 'here', Address: options.address ?? '127.0.0.1' },
          Service: { ID, Service: Name, Address, Port, Weights, Tags: [], Meta: {} },
          Checks: [{ Status: status }],
        })),
      )
    }
    say(404, `Invalid URL path: not a recognized HTTP API endpoint`)
  }

  const start = async () => {
    server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()))
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const stop = async () => {
    if (!server?.listening) return
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  const forget = () => {
    checks.abort()
    checks = new AbortController()
    services.clear()
    waiting.clear()
    index = 10
  }
  await start()
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    services,
    add,
    remove,
    answer(with_) {
      special = with_
    },
    rewind() {
      index = 10
      wake()
    },
    wake,
    stop,
    async restart() {
      await stop()
      forget()
      await start()
    },
    async close() {
      forget()
      await stop()
    },
  }
}

/** Of Go's durations only seconds and minutes. */
const seconds = (duration: string): number => Number.parseFloat(duration) * (duration.endsWith('m') ? 60 : 1)
