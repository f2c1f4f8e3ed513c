import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../within.ts'
import { ConsulAgent, type Service } from './consul-agent.ts'
import type { Discovery } from './discovery.ts'
import { KnownEndpoints } from './known-endpoints.ts'

/** A start waits so long for first answers, and a stop until the agent has heard of it, in milliseconds. */
const PATIENCE = { start: 3_000, register: 2_000, deregister: 2_000 }
/** How long other processes have to hear that this one is no longer registered, in milliseconds. */
const SETTLE = 500
/** How often it is looked up whether the agent still knows this process, in milliseconds. */
const LOOK = 2_000
/** Between two questions for the same service lies at least so much, in milliseconds. */
const SHORTEST = 250
/** After failures: a time by chance, up to 250 ms, 500 ms, 1 s … and at last 10 s. */
const BACKOFF = { first: 250, most: 10_000 }

/**
 * Instances as Consul knows them. Each hosted module is registered as a service, with a check of this process's `/readyz`;
 * services of other modules are watched with blocking queries. While the agent does not answer, what was known last holds;
 * an agent that has lost everything is told again.
 *
 * @param options.address where others reach this process
 * @param options.serviceOf under which name a module is registered
 */
export function consulDiscovery(options: {
  url: string
  token: string | undefined
  address: string
  serviceOf: (module: string) => string
  wanted: readonly string[]
  hosted: readonly string[]
  log: FastifyBaseLogger
}): Discovery {
  const { address, serviceOf, wanted, hosted, log } = options
  const agent = new ConsulAgent(options)
  const known = new KnownEndpoints('Consul', log)
  const ending = new AbortController()
  const watches = wanted.map((module) => new Watch(module, serviceOf(module), { agent, known, signal: ending.signal }))
  let registrations: Registration[] = []
  return {
    async start() {
      await within(PATIENCE.start, Promise.all(watches.map((watch) => watch.start())))
    },
    endpointsOf: (module) => known.of(module),
    async register({ port, opsPort, workers = 1 }) {
      registrations = hosted.map((module) => {
        const name = serviceOf(module)
        const service: Service = { id: `${name}-${address}-${port}`, name, address, port, opsPort, weight: workers }
        return new Registration(service, agent, log)
      })
      await within(PATIENCE.register, Promise.all(registrations.map((registration) => registration.start())))
    },
    async deregister() {
      const all = Promise.all(registrations.map((registration) => registration.end()))
      registrations = []
      let told = false
      await within(
        PATIENCE.deregister,
        all.then((results) => (told = results.some(Boolean))),
      )
      if (told) await sleep(SETTLE)
    },
    async close() {
      ending.abort()
      await agent.close()
    },
  }
}

/** Follows the healthy instances of one service. */
class Watch {
  readonly #module: string
  readonly #service: string
  readonly #options: { agent: ConsulAgent; known: KnownEndpoints; signal: AbortSignal }

  constructor(
    module: string,
    service: string,
    options: { agent: ConsulAgent; known: KnownEndpoints; signal: AbortSignal },
  ) {
    this.#module = module
    this.#service = service
    this.#options = options
  }

  /** Resolves after the first answer, good or bad; never rejects. */
  start(): Promise<void> {
    return new Promise((resolve) => void this.#run(resolve))
  }

  async #run(answered: () => void): Promise<void> {
    const { agent, known, signal } = this.#options
    let index = 0
    let failures = 0
    while (!signal.aborted) {
      const began = performance.now()
      try {
        const answer = await agent.healthy(this.#service, index)
        if (!signal.aborted) known.found(this.#module, answer.endpoints)
        index = following(index, answer.index)
        failures = 0
      } catch (error) {
        if (!signal.aborted) known.failed(this.#module, error)
        // An agent that comes back may count from the start again, and would wait for a number of the past.
        index = 0
        failures++
      }
      answered()
      await pause(failures > 0 ? backoff(failures) : SHORTEST - (performance.now() - began), signal)
    }
  }
}

/** Consul's rules: an index that goes backwards begins anew, and one of 0 would not wait. */
const following = (index: number, answered: number): number => (answered < index ? 0 : Math.max(1, answered))

/** Keeps one service registered. */
class Registration {
  readonly #service: Service
  readonly #agent: ConsulAgent
  readonly #log: FastifyBaseLogger
  readonly #ending = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #registered = false
  #failing = false

  constructor(service: Service, agent: ConsulAgent, log: FastifyBaseLogger) {
    this.#service = service
    this.#agent = agent
    this.#log = log
  }

  /** Resolves after the first try, good or bad; never rejects. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      this.#running = this.#run(resolve)
    })
  }

  /** Says whether the agent has been told. Never rejects. */
  async end(): Promise<boolean> {
    this.#ending.abort()
    await this.#running
    try {
      await this.#agent.deregister(this.#service.id)
      return true
    } catch (error) {
      this.#log.warn({ err: error, service: this.#service.name }, 'Consul was not told that this process ends')
      return false
    }
  }

  async #run(tried: () => void): Promise<void> {
    const { signal } = this.#ending
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.#ensure()
        failures = 0
      } catch (error) {
        failures++
        this.#tell(error)
      }
      tried()
      await pause(failures > 0 ? backoff(failures) : LOOK, signal)
    }
  }

  async #ensure(): Promise<void> {
    const { id, name } = this.#service
    if (this.#registered && (await this.#agent.isRegistered(id))) return
    if (this.#ending.signal.aborted) return
    await this.#agent.register(this.#service)
    if (this.#registered || this.#failing)
      this.#log.info({ service: name }, 'this process is registered with Consul again')
    this.#registered = true
    this.#failing = false
  }

  #tell(error: unknown): void {
    if (this.#failing) return
    this.#failing = true
    this.#log.warn({ err: error, service: this.#service.name }, 'this process cannot be registered with Consul yet')
  }
}

const backoff = (failures: number): number =>
  Math.random() * Math.min(BACKOFF.most, BACKOFF.first * 2 ** (failures - 1))

/** Ends early with the signal. Keeps no process alive. */
const pause = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  sleep(Math.max(0, milliseconds), undefined, { ref: false, signal }).catch(() => {})
