import type { PendingQuery, Row, Sql } from 'postgres'
import { SESSION_TIMEOUT } from '../data/databases.ts'
import type { RedisClient } from '../redis.ts'
import { within } from '../within.ts'

/** A session as it is kept. */
export interface KeptSession {
  readonly id: string
  readonly data: Readonly<Record<string, unknown>>
  readonly lastUsedAt: Date
  /** When its user last wrote, as far as that was noted, in milliseconds since 1970. */
  readonly wroteAt?: number
}

/** A place for sessions: their JSON by id, until they expire; and which ones a user has. */
export interface SessionKeeper {
  get(id: string): Promise<KeptSession | null>
  /** Keeps a session, new or not; it counts as used now. */
  set(id: string, data: Record<string, unknown>, of: { userId: string; expiresAt: Date }): Promise<void>
  /** Changes the data of a session, if it is there still. */
  replace(id: string, data: Record<string, unknown>): Promise<void>
  /** Notes that a session was used, if it is there still. */
  touch(id: string): Promise<void>
  /** Notes that its user wrote, if it is there still. */
  noteWrite(id: string, at: number): Promise<void>
  destroy(id: string): Promise<void>
  /** Those of these ids whose sessions are there still. */
  among(ids: readonly string[]): Promise<string[]>
  /** All sessions of a user. */
  list(userId: string): Promise<KeptSession[]>
}

/** Sessions in the table `seam.sessions`; what has expired is removed as new sessions come. */
export function postgresKeeper(sql: Sql): SessionKeeper {
  const kept = (row: Record<string, string>): KeptSession => {
    const data = JSON.parse(row.data!)
    return { id: row.id!, data, lastUsedAt: new Date(row.last_used_at!), wroteAt: data.wroteAt }
  }
  /** Whoever changes data has read it before, and does not know what was noted since. */
  const noted = () => sql`jsonb_strip_nulls(jsonb_build_object('wroteAt', sessions.data->'wroteAt'))`
  return {
    async get(id) {
      const [row] = await inTime(sql`
        select id, data::text, last_used_at::text from seam.sessions where id = ${id} and expires_at > now()`)
      return row ? kept(row) : null
    },
    async set(id, data, { userId, expiresAt }) {
      await inTime(sql`
        with expired as (
          delete from seam.sessions where id in (
            select id from seam.sessions where expires_at < now() and id <> ${id} limit 10 for update skip locked))
        insert into seam.sessions (id, user_id, data, expires_at)
        values (${id}, ${userId}, ${sql.json(data as never)}, ${expiresAt.toISOString()}::timestamptz)
        on conflict (id) do update
        set user_id = excluded.user_id, data = excluded.data || ${noted()}, expires_at = excluded.expires_at,
            last_used_at = now()`)
    },
    async replace(id, data) {
      await inTime(sql`
        update seam.sessions set data = ${sql.json(data as never)}::jsonb || ${noted()} where id = ${id}`)
    },
    async touch(id) {
      await inTime(sql`update seam.sessions set last_used_at = now() where id = ${id}`)
    },
    async noteWrite(id, at) {
      await inTime(
        sql`update seam.sessions set data = data || jsonb_build_object('wroteAt', ${at}::bigint) where id = ${id}`,
      )
    },
    async destroy(id) {
      await inTime(sql`delete from seam.sessions where id = ${id}`)
    },
    async among(ids) {
      const rows = await inTime(sql`
        select id from seam.sessions
        where id in (select jsonb_array_elements_text(${sql.json([...ids])})) and expires_at > now()`)
      return rows.map((row) => row.id)
    },
    async list(userId) {
      const rows = await inTime(sql`
        select id, data::text, last_used_at::text from seam.sessions where user_id = ${userId} and expires_at > now()`)
      return rows.map((row) => kept(row as Record<string, string>))
    },
  }
}

/** How much longer an answer is looked for, in milliseconds: a process that had no processor for a while finds it late. */
const GRACE = 100

/**
 * What PostgreSQL answers, unless it takes too long: then it is asked to leave it, and nobody waits for that, because the
 * connection may be one on which nothing comes back.
 */
async function inTime<T extends Row[]>(query: PendingQuery<T>): Promise<T> {
  if (!(await within(SESSION_TIMEOUT, query)) && !(await within(GRACE, query))) {
    query.cancel()
    throw new Error(`PostgreSQL has not answered within ${SESSION_TIMEOUT} ms.`)
  }
  return query
}

/** Redis has no command that writes only into a hash that is there, and without that a session could come back from the dead. */
const WRITE_IF_THERE = "if redis.call('exists', KEYS[1]) == 1 then redis.call('hset', KEYS[1], ARGV[1], ARGV[2]) end"

/**
 * Sessions in Redis, each a hash under `seam:session:<id>`, and the ids of each user's sessions in a set under
 * `seam:sessions-of:<user>`, ordered by when they expire. Redis removes what has expired.
 */
export function redisKeeper(redis: RedisClient): SessionKeeper {
  const key = (id: string) => `seam:session:${id}`
  const listKey = (userId: string) => `seam:sessions-of:${userId}`
  const read = (id: string) => redis.hgetall(key(id))
  const get = async (id: string): Promise<KeptSession | null> => {
    // A process that had no processor for a while finds that the time is up before it finds the answer, which has come long since.
    const { data, lastUsedAt, wroteAt } = await read(id).catch((error: Error) => {
      if (error.message !== 'Command timed out') throw error
      return read(id)
    })
    return data
      ? { id, data: JSON.parse(data), lastUsedAt: new Date(Number(lastUsedAt)), wroteAt: Number(wroteAt ?? 0) }
      : null
  }
  const writeIfThere = async (id: string, field: string, value: string) => {
    await redis.eval(WRITE_IF_THERE, 1, key(id), field, value)
  }
  return {
    get,
    async set(id, data, { userId, expiresAt }) {
      const until = expiresAt.getTime()
      // The list first: a session that is not listed could not be ended with the others.
      await redis
        .multi()
        .zadd(listKey(userId), until, id)
        .zremrangebyscore(listKey(userId), '-inf', Date.now())
        .pexpireat(listKey(userId), until, 'NX')
        .pexpireat(listKey(userId), until, 'GT')
        .exec()
      await redis
        .multi()
        .hset(key(id), { userId, data: JSON.stringify(data), lastUsedAt: Date.now() })
        .pexpireat(key(id), until)
        .exec()
    },
    replace: (id, data) => writeIfThere(id, 'data', JSON.stringify(data)),
    touch: (id) => writeIfThere(id, 'lastUsedAt', String(Date.now())),
    noteWrite: (id, at) => writeIfThere(id, 'wroteAt', String(at)),
    async destroy(id) {
      const userId = await redis.hget(key(id), 'userId')
      await redis.del(key(id))
      // Whoever signs in and out again and again would have a list that only grows.
      if (userId) await redis.zrem(listKey(userId), id)
    },
    async among(ids) {
      const found = await Promise.all(ids.map((id) => redis.exists(key(id))))
      return ids.filter((_, n) => found[n] === 1)
    },
    async list(userId) {
      const ids = await redis.zrangebyscore(listKey(userId), Date.now(), '+inf')
      const found = await Promise.all(ids.map(get))
      return found.filter((session) => session !== null)
    },
  }
}
