import { Redis } from 'ioredis'
import postgres, { type Sql } from 'postgres'
import { freshDatabase } from '../../test/support/database.ts'
import { redisServer } from '../../test/support/redis-server.ts'
import { type Started, startApplication } from '../lib/application.ts'
import { parentOf } from './usage.ts'

/** Real processes that serve the whole API, on a PostgreSQL and a Redis that serve nobody else. */
export interface Topology {
  readonly name: string
  /** Where end users come in. */
  readonly port: number
  readonly databaseUrl: string
  readonly sql: Sql
  readonly redisUrl: string
  /** Process ids by name; PostgreSQL's is that of the parent of all its processes. */
  readonly processes: ReadonlyMap<string, number>
  end(): Promise<void>
}

type Start = (variables: Record<string, string>) => Promise<Map<string, Started>>

/** One process with all modules. */
export const startMonolith = () =>
  startTopology('one process', async (variables) => new Map([['application', await startApplication(variables)]]))

/** A gateway before a process for each module. */
export const startSplit = () =>
  startTopology('gateway and three services', async (variables) => {
    const services = new Map<string, Started>()
    const urls: Record<string, string> = {}
    for (const name of ['users', 'posts', 'notifications']) {
      const service = await startApplication({ ...variables, ...urls, MODULES: name, EDGE: 'false' })
      services.set(name, service)
      urls[`${name.toUpperCase()}_URL`] = `http://127.0.0.1:${service.port}`
    }
    return new Map([['gateway', await startApplication({ ...variables, ...urls, MODULES: 'none' })], ...services])
  })

async function startTopology(name: string, start: Start): Promise<Topology> {
  const database = await freshDatabase()
  const server = await redisServer()
  await server.start()
  // Logs are written as operators have them, one line for each request; nobody is held back.
  const variables = {
    DATABASE_URL: database.url,
    REDIS_URL: server.url,
    LOG_LEVEL: 'info',
    LOGIN_LIMIT: '1000000000',
  }
  const applications = await start(variables)
  const sql = postgres(database.url, { max: 1, onnotice: () => {}, connection: { application_name: 'bench' } })
  const [backend] = await sql`select pg_backend_pid() as pid`
  const redisPid = Number(/process_id:(\d+)/.exec(await infoOf(server.url, 'server'))![1])
  return {
    name,
    port: [...applications.values()][0]!.port,
    databaseUrl: database.url,
    sql,
    redisUrl: server.url,
    processes: new Map([
      ...[...applications].map(([name, { pid }]) => [name, pid] as const),
      ['PostgreSQL', parentOf(backend!.pid)],
      ['Redis', redisPid],
    ]),
    async end() {
      for (const application of applications.values()) await application.end()
      await sql.end()
      await server.signal('SIGKILL')
      await database.close()
    },
  }
}

/** What a Redis says of itself. */
export async function infoOf(url: string, section: 'server' | 'clients'): Promise<string> {
  const redis = new Redis(url)
  try {
    return await redis.info(section)
  } finally {
    redis.disconnect()
  }
}
