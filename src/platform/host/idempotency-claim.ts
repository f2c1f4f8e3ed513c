import { createHmac } from 'node:crypto'
import { IdempotencyKeyReused, IdempotencyResultLost } from '../kit/errors.ts'
import { type Database, sql, type Transaction } from '../kit/tables.ts'
import { type Seal, sealFor } from './identity/seal.ts'
import { keyFor } from './identity/tokens.ts'

/** The longest that a key is remembered; what is older is removed as new ones come. */
const LIFETIME = sql`interval '24 hours'`

/** What is to be done once. */
export interface Claim {
  /** Whose key it is: the same key of another caller is another one. */
  readonly caller: string
  readonly key: string
  /** What was asked for, as JSON: the same key cannot be used for anything else. The order of fields does not count. */
  readonly asked: unknown
  /** Who answers for it when it is refused: a module, or `seam`. */
  readonly refusedBy: string
}

/**
 * Work that is done once for each claim, in one module. The key is claimed in the transaction of the work itself, by a row
 * that is unique for caller and key: a second one with the same key waits at that row until the first one has been
 * committed, and then finds its result, or has been rolled back, and then does the work. So neither a crash nor another
 * replica can come in between.
 */
export class Claims {
  readonly #db: Database
  readonly #seal: Seal
  readonly #fingerprintKey: Buffer

  constructor(module: string, options: { db: Database; secret: string }) {
    this.#db = options.db
    this.#seal = sealFor(options.secret, `idempotency of ${module}`)
    this.#fingerprintKey = keyFor(options.secret, `fingerprints of ${module}`)
  }

  /**
   * @returns what came out of the work, now or (`replayed`) the first time
   * @throws {IdempotencyKeyReused}
   * @throws {IdempotencyResultLost}
   */
  once<T>(claim: Claim, work: (tx: Transaction) => Promise<T>): Promise<{ result: T; replayed: boolean }> {
    const { caller, key, refusedBy } = claim
    const fingerprint = this.#fingerprintOf(claim.asked)
    const context = `${caller} ${key}`
    return this.#db.transaction(async (tx) => {
      const claimed = await tx.execute(sql`
        with expired as (
          delete from idempotency_keys where ctid = any(array(
            select ctid from idempotency_keys
            where created_at < now() - ${LIFETIME} and (caller, key) <> (${caller}, ${key})
            order by created_at limit 10 for update skip locked)))
        insert into idempotency_keys as known (caller, key, fingerprint) values (${caller}, ${key}, ${fingerprint})
        on conflict (caller, key) do update
        set fingerprint = excluded.fingerprint, result = null, created_at = now()
        where known.created_at < now() - ${LIFETIME}
        returning 1`)
      if (claimed.length === 0) {
        // The statement above has waited for the row, and has locked it.
        const [known] = await tx.execute<{ fingerprint: string; result: string }>(
          sql`select fingerprint, result from idempotency_keys where caller = ${caller} and key = ${key}`,
        )
        const result = this.#opened(known!.result, context, refusedBy)
        if (known!.fingerprint !== fingerprint) throw new IdempotencyKeyReused(refusedBy)
        return { result: JSON.parse(result) as T, replayed: true }
      }
      const result = JSON.stringify(await work(tx)) ?? 'null'
      const sealed = this.#seal.close(result, context)
      await tx.execute(sql`update idempotency_keys set result = ${sealed} where caller = ${caller} and key = ${key}`)
      // As a repetition gets it, so that the two cannot differ.
      return { result: JSON.parse(result) as T, replayed: false }
    })
  }

  /** Keyed, since there may be a password in what was asked, and a plain hash of it could be tried out. */
  #fingerprintOf(asked: unknown): string {
    return createHmac('sha256', this.#fingerprintKey).update(JSON.stringify(asked, sorted)).digest('base64url')
  }

  /** After a change of `SECRET` nothing can be said of a key from before: not even whether it came with the same body. */
  #opened(result: string, context: string, refusedBy: string): string {
    try {
      return this.#seal.open(result, context)
    } catch (cause) {
      throw new IdempotencyResultLost(refusedBy, { cause })
    }
  }
}

/** For JSON.stringify: fields in one order, which adapters need not keep. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
