import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import type { Config } from './config.ts'
import { Gates } from './platform/host/admission.ts'
import { Balancer } from './platform/host/balancing/balancer.ts'
import { BootError } from './platform/host/boot-error.ts'
import { Cached } from './platform/host/cache/cached.ts'
import { isCached } from './platform/host/cache/tags.ts'
import { exposePools } from './platform/host/data/pool-stats.ts'
import { chooseDiscovery } from './platform/host/discovery/choose.ts'
import { authenticate, refuseCredentials } from './platform/host/edge/authenticate.ts'
import { allowOrigins } from './platform/host/edge/cors.ts'
import { serveDocs } from './platform/host/edge/docs.ts'
import { limitRequests } from './platform/host/edge/limits.ts'
import { sendSecurityHeaders } from './platform/host/edge/security-headers.ts'
import { serveHealth } from './platform/host/edge/serve-health.ts'
import { exposeEvents } from './platform/host/events/event-metrics.ts'
import { eventsTask } from './platform/host/events/events-task.ts'
import { systemsOutside } from './platform/host/events/outside/systems-outside.ts'
import { serveEvents } from './platform/host/events/serve-events.ts'
import { healthContract, healthOf, PLATFORM } from './platform/host/health.ts'
import { drain } from './platform/host/http/drain.ts'
import { RouteStatistics } from './platform/host/http/route-stats.ts'
import { createServer } from './platform/host/http/server.ts'
import { shedLoad } from './platform/host/http/shed-load.ts'
import { developmentSecret } from './platform/host/identity/secret.ts'
import { sessionsIn } from './platform/host/identity/sessions.ts'
import { systemTokens } from './platform/host/identity/tokens.ts'
import { closeServer, listenForGrpc, listenOn, portOf } from './platform/host/listen.ts'
import { claimPrefixes, mountModule } from './platform/host/mount.ts'
import { createOpsServer } from './platform/host/ops/server.ts'
import { CallStatistics } from './platform/host/rpc/call-stats.ts'
import { createClient } from './platform/host/rpc/client.ts'
import { FaultyAdapter } from './platform/host/rpc/faults/faulty-adapter.ts'
import { FaultPlan } from './platform/host/rpc/faults/plan.ts'
import { serveProcedures } from './platform/host/rpc/http/server.ts'
import { RetryBudgets } from './platform/host/rpc/policies/retry-budget.ts'
import { Procedures } from './platform/host/rpc/procedures.ts'
import { exposeResilience } from './platform/host/rpc/resilience-metrics.ts'
import { RunningModule } from './platform/host/running-module.ts'
import { openState, type State } from './platform/host/state.ts'
import { within } from './platform/host/within.ts'
import type { Contract } from './platform/kit/contract.ts'
import type { Manifest, Task } from './platform/kit/module.ts'

/** How long open connections have to end before a stopping process closes them, in milliseconds; a developer need not wait. */
const DRAIN = { production: 1_000, development: 100 }

/** A gateway passes on so many times as many requests for a module as a process answers of its own: that costs less. */
const PASSED_ON = 4

/**
 * How long a stop waits, in milliseconds: for a start under way, for answers (with the time before, the deadline of a request), for
 * what runs in the background, and for connections on which answers are still being read. Together 20 s and less.
 */
const PATIENCE = { start: 6_000, answers: 9_000, stop: 3_000, connections: 3_000 }

/** One process of the system: built, listening on request, closed in the right order. */
export interface App {
  /** The API. For tests, `api.inject()` works before {@link App.listen}. */
  readonly api: FastifyInstance
  readonly ops: FastifyInstance
  /** What operators can have the modules here do. */
  readonly tasks: readonly Task[]
  /** For people: what this process runs on. */
  readonly runsOn: { databases: readonly string[]; queue: string; sessions: string }
  /** Listens and begins to handle events; resolves with the base URLs once the process is ready. */
  listen(): Promise<{ api: string; ops: string; grpc?: string }>
  /** Lets requests finish, then closes everything, the database last. Bounded; may be called again. */
  close(): Promise<void>
}

/**
 * Composes one process: hosts the modules that are placed here, reaches the others over the network, and, at an edge,
 * passes end users on to them.
 *
 * @throws {BootError} when modules do not keep to their contracts
 * @example
 * const app = await buildApp(readConfig(process.env, catalogue), pino())
 * const { api } = await app.listen()
 */
export async function buildApp(config: Config, log: FastifyBaseLogger): Promise<App> {
  const secret = config.secret ?? (await developmentSecret(config.dataFolder))
  const hosted = config.placement.hosted.map(({ contract }) => contract.name)
  const state = await openState({
    ...config,
    hosted,
    caches: config.placement.hosted.some(({ uses }) => uses.some(isCached)),
    migrations: new URL('../migrations', import.meta.url).pathname,
    log,
  })
  const traces =
    config.tracing && (await import('./platform/host/tracing/open-telemetry.ts')).startTracing(config.tracing, log)
  const close = async () => {
    await state.close()
    await traces?.close()
  }
  try {
    return await compose(config, { ...state, close }, secret, log)
  } catch (error) {
    await close()
    throw error
  }
}

async function compose(config: Config, state: State, secret: string, log: FastifyBaseLogger): Promise<App> {
  const { placement, edge } = config
  const strict = !config.production
  const hosted = placement.hosted.map(({ contract }) => contract.name)
  const registry = new Registry()
  const readiness = { ready: false }
  const tokens = systemTokens(secret)
  // An edge passes requests on to all modules, another process only calls those that its own ones use.
  const wanted = placement.remote.filter(
    ({ contract }) => edge || placement.hosted.some(({ uses }) => uses.includes(contract)),
  )
  const nameOf = ({ contract }: Manifest) => contract.name
  const discovery = await chooseDiscovery(config.discovery, {
    urls: config.moduleUrls,
    wanted: wanted.map(nameOf),
    hosted: placement.hosted.map(nameOf),
    log,
  })
  const balancer = new Balancer(discovery)
  const budgets = new RetryBudgets()
  if (placement.remote.length > 0) exposeResilience(registry, { balancer, budgets })
  const sessions = sessionsIn(state.sessions, { secret, tokens, log, notesWrites: config.replicaUrls.size > 0 })

  const procedures = new Procedures({ strict, log })
  const faults = config.faults && new FaultPlan(config.faults)
  if (faults)
    log.warn(
      { faults: config.settings.FAULTS, seed: faults.seed },
      `faults are injected into calls (FAULTS); FAULTS_SEED=${faults.seed} repeats them`,
    )
  // What a placement does not need is not loaded: the HTTP client takes 60 ms and 6 MB.
  const remote =
    placement.remote.length > 0
      ? await (await import('./platform/host/rpc/remote-calls.ts')).remoteCalls({
          ...config,
          balancer,
          budgets,
          tokens,
          strict,
          faults,
        })
      : undefined
  const statistics = new CallStatistics(registry)
  const cached = state.cache && new Cached(state.cache, registry)
  const local = faults ? new FaultyAdapter(procedures, faults) : procedures
  const adapterOf = (contract: Contract) => (remote && !placement.hosts(contract.name) ? remote.adapter : local)
  const clientOf = <C extends Contract>(caller: string, contract: C) =>
    createClient(contract, { caller, adapter: adapterOf(contract), strict, statistics, cached })

  // Behind an edge, only processes of this system are believed anyway, so what they say of the client is true.
  const api = createServer({
    log,
    trustProxy: edge ? config.trustProxy : true,
    statistics: new RouteStatistics(registry),
  })
  const ops = createOpsServer({ registry, readiness })
  if (edge) {
    sendSecurityHeaders(api)
    if (config.corsOrigins.length > 0) await allowOrigins(api, config.corsOrigins)
  }
  const gates = new Gates(
    [
      ...hosted.map((module) => ({ module, most: config.busyLimit })),
      ...(edge ? placement.remote.map(nameOf).map((module) => ({ module, most: PASSED_ON * config.busyLimit })) : []),
    ],
    registry,
  )
  shedLoad(api, gates)
  authenticate(api, { edge, tokens, sessions })
  limitRequests(api, {
    perMinute: edge ? config.rateLimit : undefined,
    attemptsPerMinute: config.loginLimit,
    redis: state.redis,
  })
  refuseCredentials(api)

  const outside = hosted.length > 0 ? await systemsOutside(config.eventsOutside, log) : []
  const modules = placement.hosted.map(
    (manifest) =>
      new RunningModule(manifest, {
        placement,
        procedures,
        transport: state.transport!,
        sessions,
        cache: state.cache,
        secret,
        settings: config.settings,
        eventsRetention: config.eventsRetention,
        outside,
        amqpUrl: config.eventsOutside.amqpUrl,
        log,
        urlOf: state.urlOf,
        replicaUrlOf: (name) => config.replicaUrls.get(name),
        poolerUrlOf: (name) => config.poolerUrls.get(name),
        clientOf,
      }),
  )
  exposeEvents(
    registry,
    modules.map(({ events }) => events.measured),
  )
  exposePools(
    registry,
    modules.flatMap(({ pools }) => pools),
  )
  const eventsOf = modules.flatMap(({ events }) => [events.handled, ...events.deadDeliveries])
  serveEvents(ops, eventsOf)
  const grpc =
    config.rpc === 'grpc' && modules.length > 0
      ? new (await import('./platform/host/rpc/grpc/server.ts')).GrpcServer({ procedures, tokens })
      : undefined
  const closeAll = async () => {
    await Promise.allSettled(outside.map((system) => system.close()))
    await Promise.allSettled([
      closeServer(api, PATIENCE.connections),
      closeServer(ops, PATIENCE.connections),
      grpc?.close(PATIENCE.connections),
    ])
    await remote?.close()
    await discovery.close()
    await within(PATIENCE.stop, Promise.allSettled(modules.map((module) => module.close())))
  }
  try {
    const faults: string[] = []
    for (const module of modules) {
      const { manifest, services, replica } = module
      const mounted = await mountModule(api, manifest, { services, sessions, replica })
      faults.push(...mounted.faults, ...module.allFaults)
      claimPrefixes(api, manifest.contract, mounted.routes)
      const callers = placement.all
        .filter(({ uses }) => uses.includes(manifest.contract))
        .map(({ contract }) => contract.name)
      const offers = [
        { contract: manifest.contract, mayCall: (caller: string) => callers.includes(caller) },
        { contract: healthContract(manifest.contract.name), mayCall: (caller: string) => caller === PLATFORM },
      ]
      const gate = gates.of(manifest.contract.name)
      // Also where calls go by gRPC: processes that do not know of it yet may call during a rolling change.
      serveProcedures(api, manifest.contract.name, offers, { procedures, tokens, gate })
      for (const offer of offers) grpc?.serve(offer, gate)
    }
    faults.push(...doubleTasks(modules))
    if (faults.length > 0) throw new BootError(faults)
    if (edge) {
      if (placement.remote.length > 0) {
        const { proxyModules } = await import('./platform/host/edge/gateway.ts')
        await proxyModules(api, placement.remote, { balancer, tokens, budgetOf: (module) => budgets.of(module) })
      }
      serveHealth(
        api,
        healthOf(
          placement.all.map(({ contract }) => contract),
          { adapterOf, statistics },
        ),
      )
      serveDocs(api, placement.all)
    }
    await Promise.all([api.ready(), ops.ready(), discovery.start()])
  } catch (error) {
    await closeAll()
    throw error
  }

  const alone = config.workers === 1
  const begin = async () => {
    const { host, port, opsPort } = config
    await Promise.all(modules.map((module) => module.prepare()))
    const urls = {
      api: await listenOn(api, { host, port, variable: 'PORT' }),
      // Where there are several workers, their primary listens for operators, and asks them.
      ops: alone ? await listenOn(ops, { host, port: opsPort, variable: 'OPS_PORT' }) : `http://${host}:${opsPort}`,
      ...(grpc && { grpc: await listenForGrpc(grpc, config) }),
    }
    await Promise.all([...modules.map((module) => module.start()), ...outside.map((system) => system.open())])
    readiness.ready = !closing
    if (readiness.ready && alone) await discovery.register({ port: portOf(urls.api), opsPort: portOf(urls.ops) })
    return urls
  }
  let starting: Promise<unknown> = Promise.resolve()
  const closeInOrder = async () => {
    readiness.ready = false
    await within(PATIENCE.start, Promise.allSettled([starting]))
    try {
      await discovery.deregister()
      await Promise.all([
        drain(api, config.production ? DRAIN.production : DRAIN.development).then(() => gates.empty(PATIENCE.answers)),
        grpc?.close(PATIENCE.answers),
      ])
      await within(PATIENCE.stop, Promise.allSettled(modules.map((module) => module.stop())))
      await state.transport?.close()
      await closeAll()
    } finally {
      await state.close()
    }
  }
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= closeInOrder()
    return closing
  }
  return {
    api,
    ops,
    tasks: [eventsTask(eventsOf), ...modules.flatMap(({ tasks }) => tasks)],
    runsOn: {
      databases: state.databases,
      queue: state.transport?.name ?? 'none: no module is hosted here',
      sessions: state.redis ? 'Redis' : 'PostgreSQL',
    },
    async listen() {
      const begun = begin()
      starting = begun
      try {
        return await begun
      } catch (error) {
        await close()
        throw error
      }
    },
    close,
  }
}

/** The tasks of the platform itself. */
const OWN_TASKS = ['events', 'proto']

function doubleTasks(modules: readonly RunningModule[]): string[] {
  const own = OWN_TASKS.map((name) => ({ name, module: PLATFORM }))
  const ofModules = modules.flatMap(({ manifest, tasks }) =>
    tasks.map(({ name }) => ({ name, module: manifest.contract.name })),
  )
  const tasks = [...own, ...ofModules]
  return [...Map.groupBy(tasks, ({ name }) => name)]
    .filter(([, owners]) => owners.length > 1)
    .map(([name, owners]) => `${owners.map(({ module }) => `"${module}"`).join(' and ')} both have the task "${name}".`)
}
