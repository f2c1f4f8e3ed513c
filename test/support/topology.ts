import pino from 'pino'
import { type App, buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { catalogue } from '../../src/modules/catalogue.ts'
import { variable } from '../../src/platform/host/placement.ts'
import { GRPC_OFFSET } from '../../src/platform/host/rpc/grpc/address.ts'
import type { Manifest } from '../../src/platform/kit/module.ts'
import { freshDatabase } from './database.ts'
import { freePorts } from './ports.ts'
import { freshRedis } from './redis.ts'

/** Which modules run outside the main process, each in a process of its own; and what the queues run on. */
export interface TopologyOptions {
  outside?: readonly string[]
  queue?: 'redis' | 'postgres'
  /** Variables for all processes. */
  env?: Record<string, string>
  catalogue?: readonly Manifest[]
  /** What it shares with another topology, so that each is a replica of the other (default: state of its own). */
  state?: Record<string, string>
  /** Whether it starts on a database without tables, as the first time (default: on one that is up to date, which is faster). */
  emptyDatabase?: boolean
  /** `false`: everything is built and nothing listens yet. */
  start?: boolean
}

/** The environment of each process of a topology; the main one comes first. */
export interface Plan {
  /** Where end users come in. */
  url: string
  processes: { name: string; url: string; opsUrl: string; env: Record<string, string> }[]
}

/** What a topology's processes share, whether they are real processes or parts of this one. */
export async function planTopology(options: TopologyOptions & { state: Record<string, string> }): Promise<Plan> {
  const names = (options.catalogue ?? catalogue).map(({ contract }) => contract.name)
  const outside = options.outside ?? []
  const inside = names.filter((name) => !outside.includes(name))
  const ports = await freePorts(2 * (outside.length + 1), options.env?.RPC === 'grpc' ? GRPC_OFFSET : 0)
  const placed = [
    { name: 'main', modules: inside.join(',') || 'none' },
    ...outside.map((name) => ({ name, modules: name })),
  ]
  const processes = placed.map((process, index) => ({
    ...process,
    port: ports[2 * index]!,
    opsPort: ports[2 * index + 1]!,
  }))
  const portOf = (module: string) => (processes.find(({ name }) => name === module) ?? processes[0]!).port
  const urls = Object.fromEntries(names.map((name) => [`${variable(name)}_URL`, `http://127.0.0.1:${portOf(name)}`]))
  return {
    url: `http://127.0.0.1:${processes[0]!.port}`,
    processes: processes.map(({ name, modules, port, opsPort }) => ({
      name,
      url: `http://127.0.0.1:${port}`,
      opsUrl: `http://127.0.0.1:${opsPort}`,
      env: {
        NODE_ENV: 'test',
        SECRET: 'a secret that only these tests know, of enough length',
        RATE_LIMIT: '1000000',
        LOGIN_LIMIT: '1000000',
        // Hashing the passwords of the tests' many users well takes a tenth of the time of all tests.
        PASSWORD_MEMORY: '64',
        LOG_LEVEL: process.env.TEST_LOG_LEVEL ?? 'silent',
        MODULES: modules,
        EDGE: String(name === 'main'),
        PORT: String(port),
        OPS_PORT: String(opsPort),
        ...urls,
        ...options.state,
        ...options.env,
      },
    })),
  }
}

/** A database, empty or a copy of the named one, and, if asked for, a Redis for one topology. */
export async function freshState(
  queue: 'redis' | 'postgres',
  template?: string,
): Promise<{ env: Record<string, string>; close(): Promise<void> }> {
  const database = await freshDatabase(template)
  const redis = queue === 'redis' ? await freshRedis() : undefined
  return {
    env: { DATABASE_URL: database.url, ...(redis && { REDIS_URL: redis.url }) },
    async close() {
      await redis?.close()
      await database.close()
    },
  }
}

export interface Topology {
  /** Where end users come in. */
  url: string
  databaseUrl: string
  /** By the name of the process: `main`, or the module that it hosts alone. */
  apps: Map<string, App>
  /** Runs a task of the operators in whichever process has it. */
  operate(task: string, ...args: string[]): Promise<string>
  close(): Promise<void>
}

/** Starts all processes of a topology as parts of this one, each with listeners of its own. */
export async function startTopology(options: TopologyOptions = {}): Promise<Topology> {
  const { state: shared, queue = 'postgres' } = options
  // The template has the tables of queues on PostgreSQL, too, which are not to be there beside a Redis.
  const template = options.emptyDatabase || queue === 'redis' ? undefined : process.env.TEST_DATABASE_TEMPLATE
  const state = shared ? { env: shared, close: async () => {} } : await freshState(queue, template)
  const plan = await planTopology({ ...options, state: state.env })
  const apps = new Map<string, App>()
  const close = async () => {
    await Promise.all([...apps.values()].map((app) => app.close()))
    await state.close()
  }
  try {
    const modules = options.catalogue ?? catalogue
    await Promise.all(
      plan.processes.map(async ({ name, env }) => {
        const config = readConfig(env, modules)
        apps.set(name, await buildApp(config, pino({ level: config.logLevel })))
      }),
    )
    if (options.start !== false) await Promise.all([...apps.values()].map((app) => app.listen()))
  } catch (error) {
    await close()
    throw error
  }
  const operate = async (name: string, ...args: string[]) => {
    const task = [...apps.values()].flatMap(({ tasks }) => tasks).find((task) => task.name === name)
    if (!task) throw new Error(`No process has the task "${name}".`)
    return task.run(args)
  }
  return { url: plan.url, databaseUrl: state.env.DATABASE_URL!, apps, operate, close }
}
