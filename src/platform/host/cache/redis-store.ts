import { randomUUID } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import type { CacheStore, Kept, Look } from './store.ts'

const ENTRY = 'seam:cache:entry:'
const TAG = 'seam:cache:tag:'
/** Seconds for which a version is remembered. What was kept under one that is forgotten is not believed any more. */
const VERSION_LIFE = 24 * 60 * 60
/** So many outdated tags are remembered for a Redis that is away; beyond that, all that is kept of their modules is wrong. */
const MOST_OWED = 1_000

/**
 * Keeps answers in a Redis, one node or a cluster, for all processes that use it. It may evict, be emptied or be away: then
 * answers are missing. Each command names one key.
 *
 * @param redis of `cacheRedis`; the store closes it
 * @param options.patience the longest that one question may take, in milliseconds (50)
 * @param options.pause for how many milliseconds a Redis that has failed is left alone (1,000); then one question tries, while
 *   the others do without an answer
 */
export class RedisStore implements CacheStore {
  readonly name: string
  readonly shared = true
  readonly #redis: Redis | Cluster
  readonly #log: FastifyBaseLogger
  readonly #patience: number
  readonly #pause: number
  /** Those of this turn: who asks for the same at the same time asks once. */
  readonly #looking = new Map<string, Promise<Look | undefined>>()
  #failed = false
  #leftAloneUntil = 0
  /** Tags whose new version has not reached Redis. Before it has, nothing is believed. */
  #owed = new Set<string>()
  #paying: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(redis: Redis | Cluster, options: { log: FastifyBaseLogger; patience?: number; pause?: number }) {
    this.#redis = redis
    this.#log = options.log
    this.#patience = options.patience ?? 50
    this.#pause = options.pause ?? 1_000
    this.name = redis.isCluster ? 'Redis, a cluster' : 'Redis'
  }

  look(key: string, tags: readonly string[]): Promise<Look | undefined> {
    let looking = this.#looking.get(key)
    if (!looking) {
      looking = this.#look(key, tags)
      this.#looking.set(key, looking)
      // Commands are sent at the end of the turn. Who comes later must see what has happened by then.
      setImmediate(() => this.#looking.delete(key))
    }
    return looking
  }

  #look(key: string, tags: readonly string[]): Promise<Look | undefined> {
    return this.#ask(async () => {
      // Its time first: an entry that is replaced in between does not lend it to the one before.
      const [left, entry, ...found] = await Promise.all([
        this.#redis.pttl(ENTRY + key),
        this.#redis.get(ENTRY + key),
        ...tags.map((tag) => this.#redis.get(TAG + tag)),
      ])
      if (!found.includes(null)) {
        const versions = found.join()
        return { versions, kept: keptIn(entry, versions, left) }
      }
      const versions = await Promise.all(found.map((version, index) => version ?? this.#versionOf(tags[index]!)))
      return { versions: versions.join(), kept: undefined }
    })
  }

  async keep(key: string, text: string, { versions }: Look, life: number): Promise<void> {
    await this.#ask(() => this.#redis.set(ENTRY + key, `${versions}\n${text}`, 'PX', Math.ceil(life)))
  }

  async outdate(tags: readonly string[]): Promise<boolean> {
    if (await this.#ask(() => this.#renew(tags))) return true
    this.#owe(tags)
    return false
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#redis.disconnect()
  }

  /** Asks Redis, if that is worth it. Undefined: it did not answer. */
  async #ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    if (performance.now() < this.#leftAloneUntil) return undefined
    if (this.#failed) this.#leftAloneUntil = performance.now() + this.#pause
    try {
      const answer = await inTime(this.#pay().then(question), this.#patience)
      this.#failed = false
      this.#leftAloneUntil = 0
      return answer
    } catch (error) {
      if (!this.#failed) this.#log.warn({ err: error }, 'the cache does not answer; calls are made without it')
      this.#failed = true
      this.#leftAloneUntil = performance.now() + this.#pause
      return undefined
    }
  }

  /** A version that is there is left as it is; one that is not may have been there, so the new one is like no other. */
  async #versionOf(tag: string): Promise<string> {
    const fresh = randomUUID()
    const [, version] = await Promise.all([
      this.#redis.set(TAG + tag, fresh, 'EX', VERSION_LIFE, 'NX'),
      this.#redis.get(TAG + tag),
    ])
    return version ?? fresh
  }

  async #renew(tags: Iterable<string>): Promise<true> {
    await Promise.all([...tags].map((tag) => this.#redis.set(TAG + tag, randomUUID(), 'EX', VERSION_LIFE)))
    return true
  }

  async #pay(): Promise<void> {
    // What has come to be owed during a payment is not part of it.
    while (this.#paying || this.#owed.size > 0) {
      this.#paying ??= this.#payAll().finally(() => (this.#paying = undefined))
      await this.#paying
    }
  }

  async #payAll(): Promise<void> {
    const owed = this.#owed
    this.#owed = new Set()
    await this.#renew(owed).catch((error) => {
      this.#owe(owed)
      throw error
    })
  }

  #owe(tags: Iterable<string>): void {
    for (const tag of tags) this.#owed.add(tag)
    if (this.#owed.size > MOST_OWED) this.#owed = new Set([...this.#owed].map((tag) => tag.split(':')[0]!))
    // Others believe what is in Redis, so it is paid also while nobody here asks.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.outdate([])
    }, this.#pause).unref()
  }
}

function keptIn(entry: string | null, versions: string, left: number): Kept | undefined {
  if (left <= 0 || !entry?.startsWith(`${versions}\n`)) return undefined
  return { text: entry.slice(versions.length + 1), left }
}

/** What has arrived by then is read, also when the process itself was too busy to look. */
async function inTime<T>(work: Promise<T>, patience: number): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => setImmediate(() => setImmediate(() => late.reject(new Error(`Redis took longer than ${patience} ms.`)))),
    patience,
  )
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
