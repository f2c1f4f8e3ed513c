import { join } from 'node:path'
import type { FastifyBaseLogger } from 'fastify'
import { BootError } from './boot-error.ts'
import type { CacheStore } from './cache/store.ts'
import { openPlatformDatabase } from './data/databases.ts'
import { type Migrated, migrate, PLATFORM_SCHEMA, whereIs } from './data/migrate.ts'
import type { Transport } from './events/delivery.ts'
import { postgresKeeper, redisKeeper, type SessionKeeper } from './identity/session-keepers.ts'
import { variable } from './placement.ts'
import type { RedisClient } from './redis.ts'
import { within } from './within.ts'

/** Where a process keeps what must outlive it. Nothing that a second replica would need is in the process itself. */
export interface State {
  /** For people: where the databases are, without passwords, each with the variable that says so. */
  readonly databases: readonly string[]
  /** For the modules hosted here; undefined where there are none. */
  readonly transport: Transport | undefined
  readonly sessions: SessionKeeper
  readonly redis: RedisClient | undefined
  /** For the answers of other modules; undefined where none are kept. */
  readonly cache: CacheStore | undefined
  /** The database of a module hosted here. */
  urlOf(module: string): string
  close(): Promise<void>
}

export interface StateOptions {
  readonly hosted: readonly string[]
  readonly databaseUrl: string | undefined
  readonly moduleDatabaseUrls: ReadonlyMap<string, string>
  /** One server, or nodes of a cluster; none: PostgreSQL and memory. */
  readonly redisUrls: readonly string[]
  /** Whether a module hosted here calls queries whose answers may be kept. */
  readonly caches?: boolean
  /** One Redis, or the nodes of a cluster; none: memory. */
  readonly cacheRedisUrls?: readonly string[]
  readonly dataFolder: string
  readonly migrations: string
  readonly log: FastifyBaseLogger
}

type Closing = (() => Promise<unknown>)[]

/**
 * Brings the schemas of the named modules up to date, and those of the platform and of the queue where they are kept in
 * PostgreSQL.
 *
 * @throws as {@link openState}
 */
export async function migrateState(options: StateOptions): Promise<Migrated[]> {
  const closing: Closing = []
  try {
    return await bringUpToDate(options, await mainDatabase(options, closing))
  } finally {
    for (const step of closing) await step()
  }
}

/** How long a start waits for Redis, in milliseconds: for the one that it needs, and for that of the cache. */
const REDIS_PATIENCE = 10_000
const CACHE_PATIENCE = 1_000

/**
 * Opens PostgreSQL (given or embedded), Redis where there is one, and brings the schemas of the hosted modules up to date.
 *
 * @throws {BootError} when PostgreSQL or Redis cannot be used, or a migration fails; nothing is left open then
 */
export async function openState(options: StateOptions): Promise<State> {
  const { hosted, redisUrls, log } = options
  const closing: Closing = []
  const close = async () => {
    for (const step of closing.splice(0).reverse())
      await step().catch((error) => log.warn({ err: error }, 'something did not close'))
  }
  try {
    const url = await mainDatabase(options, closing)
    await bringUpToDate(options, url)
    const redis = redisUrls.length > 0 ? await openRedis(redisUrls, log) : undefined
    if (redis) closing.push(async () => redis.disconnect())
    const cache = options.caches ? await openCache(options.cacheRedisUrls ?? [], log) : undefined
    if (cache) closing.push(() => cache.close())
    const platform = redis ? undefined : openPlatformDatabase(url!)
    if (platform) closing.push(() => platform.end({ timeout: 1 }))
    const transport = hosted.length > 0 ? await openTransport(url, redisUrls, log) : undefined
    if (transport) closing.push(() => transport.close())
    return {
      databases: databasesOf(options, url),
      transport,
      sessions: redis ? redisKeeper(redis) : postgresKeeper(platform!),
      redis,
      cache,
      urlOf: (module) => options.moduleDatabaseUrls.get(module) ?? url!,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A pure gateway with Redis, or modules that all have databases of their own, need no other database. */
async function mainDatabase(options: StateOptions, closing: Closing): Promise<string | undefined> {
  const needed =
    options.redisUrls.length === 0 || options.hosted.some((module) => !options.moduleDatabaseUrls.has(module))
  if (!needed || options.databaseUrl) return options.databaseUrl
  const { acquireEmbeddedPostgres } = await import('./data/embedded-postgres.ts')
  const embedded = await acquireEmbeddedPostgres({
    folder: join(options.dataFolder, 'postgres'),
    log: (line) => options.log.info(line),
  }).catch((cause: Error) => {
    throw new BootError([cause.message], { cause })
  })
  closing.push(() => embedded.release())
  return embedded.url
}

async function bringUpToDate(options: StateOptions, url: string | undefined): Promise<Migrated[]> {
  const schemas = new Map<string, string[]>()
  const add = (at: string, schema: string) => schemas.set(at, [...(schemas.get(at) ?? []), schema])
  // Without a Redis the main database is needed, so there is one.
  const main = options.redisUrls.length > 0 ? undefined : url
  if (main) add(main, PLATFORM_SCHEMA)
  for (const module of options.hosted) add(options.moduleDatabaseUrls.get(module) ?? url!, module)
  const work: Promise<Migrated | Migrated[]>[] = [...schemas].map(([at, names]) =>
    migrate(at, { folder: options.migrations, schemas: names }),
  )
  if (main && options.hosted.length > 0) {
    work.push(
      import('./events/bullmq-transport.ts').then(({ migratePostgresTransport }) => migratePostgresTransport(main)),
    )
  }
  // All are waited for, so that none goes on behind a failure.
  await Promise.allSettled(work)
  return (await Promise.all(work)).flat()
}

/** A process without its Redis could not tell who its users are: it does not start to answer them. */
async function openRedis(urls: readonly string[], log: FastifyBaseLogger): Promise<RedisClient> {
  const { addressesOf, requestRedis } = await import('./redis.ts')
  const redis = requestRedis(urls, log)
  let reason = 'it does not answer'
  const hear = ({ message }: Error) => (reason = message)
  redis.on('error', hear)
  const ready = () => new Promise((resolve) => redis.once('ready', resolve))
  const isReady = redis.status === 'ready' || (await within(REDIS_PATIENCE, ready()))
  redis.off('error', hear)
  if (isReady) return redis
  redis.disconnect()
  throw new BootError([`Redis at ${addressesOf(urls)} cannot be used (REDIS_URL): ${reason}.`])
}

async function openTransport(
  url: string | undefined,
  redisUrls: readonly string[],
  log: FastifyBaseLogger,
): Promise<Transport> {
  const { postgresTransport, redisTransport } = await import('./events/bullmq-transport.ts')
  return redisUrls.length > 0 ? redisTransport(redisUrls, log) : postgresTransport(url!, log)
}

async function openCache(urls: readonly string[], log: FastifyBaseLogger): Promise<CacheStore> {
  if (urls.length === 0) return new (await import('./cache/memory-store.ts')).MemoryStore()
  const { cacheRedis } = await import('./redis.ts')
  const { RedisStore } = await import('./cache/redis-store.ts')
  const redis = cacheRedis(urls, log)
  if (!(await within(CACHE_PATIENCE, new Promise((resolve) => redis.once('ready', resolve)))))
    log.warn('The Redis of the cache does not answer (CACHE_REDIS_URL). Until it does, calls are made without it.')
  return new RedisStore(redis, { log })
}

function databasesOf({ hosted, databaseUrl, moduleDatabaseUrls }: StateOptions, url: string | undefined): string[] {
  const embedded = url && databaseUrl === undefined
  const main = url && (embedded ? `PostgreSQL, embedded (${new URL(url).host})` : whereIs(url))
  const own = hosted.filter((module) => moduleDatabaseUrls.has(module))
  return [
    ...(main || own.length === 0 ? [`${main ?? 'none'} (DATABASE_URL)`] : []),
    ...own.map((name) => `${name}: ${whereIs(moduleDatabaseUrls.get(name)!)} (${variable(name)}_DATABASE_URL)`),
  ]
}
