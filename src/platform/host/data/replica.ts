import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyBaseLogger } from 'fastify'
import type { PendingQuery, Row, Sql } from 'postgres'
import { Sweep } from '../sweep.ts'
import { within } from '../within.ts'
import { isAway } from './database-errors.ts'
import type { PoolStats } from './pool-stats.ts'
import type { Settling } from './statement.ts'

/** Milliseconds between two looks at how far the replica is, and how long it may take to answer. */
const LOOK = { every: 1_000, patience: 1_000 }
/** A replica that is further behind, in milliseconds, is not read from. */
const MOST_BEHIND = 5_000
/** How far the clocks of two machines may differ, in milliseconds. */
const CLOCKS = 5_000

/** Samples that are kept while the replica has not come up to them. */
const MOST_SAMPLES = 60

/** What the primary had written at a moment. */
interface Sample {
  readonly at: number
  readonly position: bigint
}

/**
 * A read replica of a module's database. Once a second it asks the primary what it has written (`pg_current_wal_insert_lsn`)
 * and the replica what of it is there (`pg_last_wal_replay_lsn`), so it knows a moment before which nothing is missing.
 * No statement of a request waits for that.
 */
export class Replica {
  readonly sql: Sql
  readonly pool: PoolStats
  readonly #primary: Sql
  readonly #log: FastifyBaseLogger
  readonly #sweep: Sweep
  #samples: Sample[] = []
  /** Everything that was committed before is there. */
  #completeTo = Number.NEGATIVE_INFINITY
  #isUsed = false

  constructor(module: string, options: { primary: Sql; sql: Sql; pool: PoolStats; log: FastifyBaseLogger }) {
    this.sql = options.sql
    this.pool = options.pool
    this.#primary = options.primary
    this.#log = options.log
    this.#sweep = new Sweep({
      name: `replica of ${module}`,
      interval: LOOK.every,
      log: options.log,
      run: () => this.#look(),
    })
  }

  start(): void {
    this.#sweep.start()
  }

  async stop(): Promise<void> {
    await this.#sweep.stop()
  }

  /**
   * Whether it may be read from: it is not far behind, and has all that was written until a moment.
   *
   * @param since when whoever reads has last written, by the clock of some machine
   */
  has(since: number): boolean {
    return this.#completeTo >= Date.now() - MOST_BEHIND && this.#completeTo >= since + CLOCKS
  }

  /**
   * Has a statement asked of the primary when the replica fails with it. One that has ended with its request has not failed.
   *
   * @param again asks the primary
   */
  orPrimary(query: PendingQuery<Row[]>, again: () => PendingQuery<Row[]>): PendingQuery<Row[]> {
    const settling = query as unknown as Settling
    const { resolve, reject } = settling
    // The driver rejects in the course of whatever opened the connection.
    const askPrimary = AsyncLocalStorage.bind(again)
    settling.reject = (error) => {
      if ((error as { code?: string }).code === '57014') return reject(error)
      if (isAway(error)) this.#lose(error)
      const other = askPrimary()
      if (settling.isRaw === 'values') other.values()
      other.then(resolve, reject)
    }
    return query
  }

  async #look(): Promise<void> {
    try {
      const at = Date.now()
      const [written] = await this.#primary`select pg_current_wal_insert_lsn()::text as lsn`
      this.#samples.push({ at, position: positionOf(written?.lsn) })
      const asked = this.sql`select pg_last_wal_replay_lsn()::text as lsn, pg_is_in_recovery() as follows`
      if (!(await within(LOOK.patience, asked))) {
        asked.cancel()
        throw new Error('It does not answer.')
      }
      const [replayed] = await asked
      if (!replayed?.follows) throw new Error('It follows no other server.')
      const position = positionOf(replayed.lsn)
      const reached = this.#samples.findLast((sample) => sample.position <= position)
      if (reached) {
        this.#completeTo = reached.at
        this.#samples = this.#samples.filter((sample) => sample.at > reached.at)
      }
      // Of what it is too far behind for, the oldest is enough to know when it has come up.
      this.#samples.splice(MOST_SAMPLES)
      this.#tell(this.has(0))
    } catch (error) {
      this.#lose(error)
    }
  }

  #lose(error: unknown): void {
    this.#completeTo = Number.NEGATIVE_INFINITY
    this.#tell(false, error)
  }

  #tell(isUsed: boolean, error?: unknown): void {
    if (isUsed === this.#isUsed) return
    this.#isUsed = isUsed
    if (isUsed) this.#log.info('the replica is read from')
    else this.#log.warn({ err: error }, 'the replica is not read from until it is well and not far behind')
  }
}

/** `16/B374D848` as a number. */
function positionOf(lsn: string): bigint {
  const [high = '', low = ''] = lsn.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}
