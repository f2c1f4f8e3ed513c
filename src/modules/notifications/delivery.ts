import type { ModuleApp } from '../../platform/kit/module.ts'
import { and, eq, sql, type Transaction } from '../../platform/kit/tables.ts'
import type { notifications } from './contract.ts'
import { outgoing } from './tables.ts'

/** How often and how soon something is tried again; what tests may hurry. */
export const pace = {
  /** After this many attempts a message counts as failed: with the pauses below, after some twenty minutes. */
  attempts: 10,
  /** Seconds, times the square of the attempts so far: 5 s, 20 s, 45 s … 7 min; up to half of it is left out at random. */
  pause: 5,
  /** Milliseconds between two looks for what has become due. */
  look: 1_000,
  /** Milliseconds that one attempt may take. */
  patience: 30_000,
}

/** Messages of one channel that one process sends at a time. */
const AT_ONCE = 5
/** Seconds that a message under way is left alone by others: twice what an attempt may take. */
const LEASE = 60
/** Milliseconds that a closing process waits for what is under way. */
const FAREWELL = 2_000
/** Days for which it is remembered what became of a message. */
const KEPT = 30

export type Channel = 'email' | 'sms' | 'push'
export type Outgoing = typeof outgoing.$inferSelect

/** What somebody will not take, now or later: there is no use in trying again. */
export class Refused extends Error {}

/** What somebody will take later, as they said. */
export class NotYet extends Error {
  readonly seconds: number

  constructor(message: string, seconds: number) {
    super(message)
    this.seconds = seconds
  }
}

/** Hands one message over; what it throws is the reason why not. It should give up when the signal is aborted. */
export type Deliver = (message: Outgoing, signal: AbortSignal) => Promise<void>

/** Notes something that is to be sent, in the transaction that makes it so. */
export async function enqueue(
  app: Pick<ModuleApp<typeof notifications>, 'traces'>,
  tx: Transaction,
  message: Pick<Outgoing, 'channel' | 'to' | 'text'> & Partial<Pick<Outgoing, 'userId' | 'subject' | 'html'>>,
): Promise<Pick<Outgoing, 'id' | 'status' | 'version'>> {
  const [row] = await tx
    .insert(outgoing)
    .values({ ...message, traceparent: app.traces.mark() })
    .returning({ id: outgoing.id, status: outgoing.status, version: outgoing.version })
  return row!
}

/**
 * Sends what is queued for one channel: at least once, with an id that stays the same. Any number of processes may do so;
 * each takes a message for a time, so that one who dies with it does not keep it.
 *
 * @param keep whether the words stay in the database when a message is done
 */
export function deliveryOf(
  app: ModuleApp<typeof notifications>,
  { channel, deliver, keep }: { channel: Channel; deliver: Deliver; keep: boolean },
): { wake(): void } {
  const underWay = new Set<Promise<void>>()
  const closing = new AbortController()

  const take = (most: number) =>
    app.db
      .update(outgoing)
      .set({
        attempts: sql`${outgoing.attempts} + 1`,
        version: sql`${outgoing.version} + 1`,
        dueAt: sql`now() + make_interval(secs => ${LEASE})`,
      })
      .where(
        sql`${outgoing.id} = any(array(
          select id from outgoing where channel = ${channel} and status = 'queued' and due_at <= now()
          order by due_at limit ${sql.raw(String(most))} for update skip locked))`,
      )
      .returning()

  /** Changes nothing when somebody else has taken the message since, or when it has been deleted. */
  const note = (message: Outgoing, change: object) =>
    app.db
      .update(outgoing)
      .set({ version: sql`${outgoing.version} + 1`, ...change })
      .where(and(eq(outgoing.id, message.id), eq(outgoing.attempts, message.attempts)))

  const emptied = keep ? {} : { text: '', html: null }

  const attempt = async (message: Outgoing) => {
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(pace.patience)])
      await app.traces.goOn(message.traceparent, `send ${channel}`, () =>
        Promise.race([deliver(message, signal), aborted(signal)]),
      )
    } catch (error) {
      const lastError = wordsOf(error)
      const over = error instanceof Refused || message.attempts >= pace.attempts
      app.log.warn(
        { channel, message: message.id, attempt: message.attempts, reason: lastError },
        over ? 'a message could not be sent' : 'a message could not be sent and will be tried again',
      )
      const seconds = Math.max(pauseAfter(message.attempts), error instanceof NotYet ? error.seconds : 0)
      await note(message, {
        lastError,
        ...(over ? { status: 'failed', ...emptied } : { dueAt: sql`now() + make_interval(secs => ${seconds})` }),
      })
      return
    }
    // It has left: should this fail, that is no reason to send it again before the lease is over.
    await note(message, { status: 'sent', sentAt: sql`now()`, lastError: null, ...emptied })
  }

  const send = (message: Outgoing) => {
    const sending = attempt(message)
      .catch((error) => app.log.warn({ err: error, message: message.id }, 'what became of a message was not noted'))
      .finally(() => {
        const full = underWay.size === AT_ONCE
        underWay.delete(sending)
        if (full) sweep.wake()
      })
    underWay.add(sending)
  }

  // It does not wait for what it begins, so one slow message does not hold back the others.
  const sweep = app.sweep({
    name: `delivery of ${channel}`,
    every: pace.look,
    async run() {
      while (underWay.size < AT_ONCE) {
        const taken = await take(AT_ONCE - underWay.size)
        if (taken.length === 0) return
        for (const message of taken) send(message)
      }
    },
  })

  app.addHook('onClose', async () => {
    const cut = setTimeout(() => closing.abort(new Error('The process ends.')), FAREWELL)
    await Promise.all(underWay).finally(() => clearTimeout(cut))
  })

  return sweep
}

/** Forgets what became of messages a month ago. */
export function forgetOld(app: ModuleApp<typeof notifications>): void {
  app.sweep({
    name: 'old messages',
    every: 3_600_000,
    async run() {
      for (let gone = 1; gone > 0; ) {
        const rows = await app.db
          .delete(outgoing)
          .where(
            sql`${outgoing.id} = any(array(
              select id from outgoing where status <> 'queued' and created_at < now() - make_interval(days => ${KEPT})
              order by created_at limit 1000))`,
          )
          .returning({ id: outgoing.id })
        gone = rows.length
      }
    },
  })
}

/** Half of it at random, so that many do not come back at once. */
const pauseAfter = (attempts: number): number => pace.pause * attempts ** 2 * (0.5 + Math.random() / 2)

/** Rejects when the signal is aborted: what does not heed it counts as over by then. */
function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  return promise
}

/** An error for people, short and in characters that a database takes. */
const wordsOf = (error: unknown): string =>
  String((error as Error)?.message ?? error)
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 500)
    .toWellFormed()
