import { Readable } from 'node:stream'
import type { ModuleApp } from '../../platform/kit/module.ts'
import type { Identity } from '../../platform/kit/permissions.ts'
import { sql } from '../../platform/kit/tables.ts'
import type { notifications as contract } from './contract.ts'
import type { Notification } from './inbox.ts'
import type { Signal } from './notify.ts'

/** Streams of one user that one process serves at a time. */
const PER_USER = 5
/** Streams that one process serves at a time: each has a connection, and those of a gateway are not without end. */
const IN_ALL = 2_000
/** Notifications that are read for one user at a time. */
const BATCH = 100
/** Users that are looked for in one statement. */
const USERS = 500
/** Milliseconds after which news that could not be read is read again. */
const RETRY = 1_000
/** Milliseconds between two signs of life; the longest that a stream outlives its session. */
const HEARTBEAT = 15_000
/** Signs of life that may wait in vain, before the reader counts as gone. */
const PATIENCE = 2
/** Milliseconds after which a stream ends; its reader comes again, maybe to another process. */
const LIFETIME = 15 * 60_000

type Numbered = Notification & { userId: string; sequence: number }

/**
 * The streams of notifications (server-sent events) that this process serves. What is new is read from the database when
 * somebody says that there is something, in one statement for all users whom it concerns, and only for readers who have
 * read what they got: a slow one holds up nobody and keeps no memory but its last batch.
 */
export class Streams {
  readonly #db: ModuleApp['db']
  readonly #sessions: ModuleApp['sessions']
  readonly #open = new Map<string, Set<Stream>>()
  readonly #woken = new Set<string>()
  readonly #news: { wake(): void }
  #count = 0
  #closing = false

  constructor(app: ModuleApp<typeof contract>) {
    this.#db = app.db
    this.#sessions = app.sessions
    this.#news = app.sweep({ name: 'news for streams', every: RETRY, run: () => this.#tell() })
    app.sweep({ name: 'heartbeats of streams', every: HEARTBEAT, run: () => this.#beat() })
    app.onSignal((message) => this.#hear(message))
    // Clients come again, to another process.
    app.addHook('preClose', async () => {
      this.#closing = true
      for (const stream of this.#all()) stream.end()
    })
  }

  /** Whether this process serves as many as it can. */
  get isFull(): boolean {
    return this.#count >= IN_ALL
  }

  /** Whether a user may open one more stream at this process. */
  hasRoomFor(userId: string): boolean {
    return (this.#open.get(userId)?.size ?? 0) < PER_USER
  }

  /** Opens a stream of what comes after a place in a user's sequence. */
  open({ userId, sessionId }: Identity, after: number): Readable {
    const streams = this.#open.get(userId) ?? new Set()
    const stream = new Stream(sessionId, after, () => this.#wake(userId))
    this.#open.set(userId, streams.add(stream))
    this.#count++
    stream.once('close', () => {
      this.#count--
      streams.delete(stream)
      if (streams.size === 0) this.#open.delete(userId)
    })
    if (this.#closing) stream.end()
    return stream
  }

  *#all(): Generator<Stream> {
    for (const streams of this.#open.values()) yield* streams
  }

  #hear(message: string | null): void {
    const { userId, gone }: Partial<Signal> = message === null ? {} : JSON.parse(message)
    for (const id of userId === undefined ? this.#open.keys() : [userId]) {
      for (const stream of this.#open.get(id) ?? []) {
        if (gone) stream.end()
        else stream.hasNews()
      }
    }
  }

  #wake(userId: string): void {
    this.#woken.add(userId)
    this.#news.wake()
  }

  async #tell(): Promise<void> {
    while (this.#woken.size > 0) {
      const users = this.#woken.values().take(USERS).toArray()
      for (const userId of users) this.#woken.delete(userId)
      const readers = users.flatMap((userId) => {
        const streams = [...(this.#open.get(userId) ?? [])].filter(({ isReady }) => isReady)
        for (const stream of streams) stream.isBehind = false
        return streams.length > 0 ? [{ userId, streams, after: Math.min(...streams.map(({ last }) => last)) }] : []
      })
      if (readers.length === 0) continue
      try {
        const found = Map.groupBy(await this.#read(readers), ({ userId }) => userId)
        for (const { userId, streams } of readers) {
          const rows = found.get(userId) ?? []
          for (const stream of streams) stream.tell(rows, rows.length === BATCH)
        }
      } catch (error) {
        for (const { userId, streams } of readers) {
          this.#woken.add(userId)
          for (const stream of streams) stream.isBehind = true
        }
        throw error
      }
    }
  }

  /** At most {@link BATCH} for each user, in their order. */
  async #read(readers: readonly { userId: string; after: number }[]): Promise<Numbered[]> {
    const wanted = JSON.stringify(readers.map(({ userId, after }) => ({ userId, after })))
    const rows = await this.#db.execute<Record<keyof Numbered, string | null>>(sql`
      select n.id, n.user_id as "userId", n.sequence, n.kind, n.text, n.link,
        to_char(n.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt",
        to_char(n.read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "readAt"
      from jsonb_to_recordset(${wanted}::jsonb) as reader ("userId" uuid, after bigint)
      cross join lateral (
        select * from notifications
        where user_id = reader."userId" and sequence > reader.after order by sequence limit ${sql.raw(String(BATCH))}
      ) as n
      order by n.user_id, n.sequence`)
    return rows.map((row) => ({ ...row, sequence: Number(row.sequence) }) as Numbered)
  }

  async #beat(): Promise<void> {
    const streams = [...this.#all()]
    for (const stream of streams) stream.beat()
    if (streams.length === 0) return
    // While sessions cannot be read, streams go on.
    const underWay = await this.#sessions.underWay([...new Set(streams.map(({ sessionId }) => sessionId))])
    for (const stream of streams) if (!underWay.has(stream.sessionId)) stream.end()
  }
}

/** One reader's stream. */
class Stream extends Readable {
  /** In which its reader is signed in. */
  readonly sessionId: string
  /** The place in the user's sequence up to which it has told everything. */
  last: number
  /** Whether there may be something that it has not told. */
  isBehind = true
  readonly #wake: () => void
  readonly #until = performance.now() + LIFETIME
  /** Whether its reader has taken what it was given. */
  #taken = false
  #ended = false
  #silent = 0

  constructor(sessionId: string, after: number, wake: () => void) {
    // It is asked for more when nothing waits any more.
    super({ highWaterMark: 1 })
    this.sessionId = sessionId
    this.last = after
    this.#wake = wake
    // An id without data makes no event, and is what the client comes again with.
    this.push(`retry: ${2_000 + Math.floor(Math.random() * 1_000)}\nid: ${after}\n\n`)
  }

  override _read(): void {
    this.#taken = true
    if (this.isBehind) this.#wake()
  }

  get isReady(): boolean {
    return this.#taken && !this.#ended && !this.destroyed
  }

  hasNews(): void {
    this.isBehind = true
    if (this.#taken) this.#wake()
  }

  /** @param more whether there is more where these come from */
  tell(rows: readonly Numbered[], more: boolean): void {
    const fresh = rows.filter(({ sequence }) => sequence > this.last)
    if (fresh.length > 0) {
      this.last = fresh.at(-1)!.sequence
      this.#give(fresh.map(textOf).join(''))
    }
    if (more) this.hasNews()
  }

  /** A comment, so that nobody in between takes the stream for dead. Ends what has lasted long or is not read. */
  beat(): void {
    if (!this.#taken && ++this.#silent > PATIENCE) this.destroy()
    else if (performance.now() > this.#until) this.end()
    else if (this.#taken) this.#give(':\n\n')
  }

  /** Lets the reader have what it was given, and nothing more. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#taken = false
    this.push(null)
  }

  #give(text: string): void {
    if (this.#ended || this.destroyed) return
    this.#taken = false
    this.#silent = 0
    this.push(text)
  }
}

function textOf({ sequence, userId: _owner, ...notification }: Numbered): string {
  return `id: ${sequence}\ndata: ${JSON.stringify(notification)}\n\n`
}
