import { createHmac } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BadInput, IdempotencyKeyReused, IdempotencyResultLost } from '../kit/errors.ts'
import type { ModuleServices } from '../kit/module.ts'
import { type Database, sql, type Transaction } from '../kit/tables.ts'
import { isIdempotencyKey } from './idempotency-key.ts'
import { type Seal, sealFor } from './identity/seal.ts'
import { keyFor } from './identity/tokens.ts'

/** The longest that a key is remembered; what is older is removed as new ones come. */
const LIFETIME = sql`interval '24 hours'`

/**
 * Makes `app.once` of a module. The key is claimed in the transaction of the work itself, by a row that is unique for caller
 * and key: a second request with the same key waits at that row until the first one has been committed, and then finds its
 * result, or has been rolled back, and then does the work. So neither a crash nor another replica can come in between.
 */
export function onceIn(module: string, options: { db: Database; secret: string }): ModuleServices['once'] {
  const { db } = options
  const seal = sealFor(options.secret, `idempotency of ${module}`)
  const fingerprintKey = keyFor(options.secret, `fingerprints of ${module}`)

  return async <T>(request: FastifyRequest, reply: FastifyReply, work: (tx: Transaction) => Promise<T>): Promise<T> => {
    if (!request.routeOptions.config.idempotent) throw new TypeError('once() belongs in routes that are idempotent')
    const key = keyOf(request, module)
    if (key === undefined) return db.transaction(work)

    const caller = request.identity?.userId ?? 'anyone'
    const fingerprint = fingerprintOf(request, fingerprintKey)
    const context = `${caller} ${key}`
    return db.transaction(async (tx) => {
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
        const result = opened(seal, known!.result, context)
        if (known!.fingerprint !== fingerprint) throw new IdempotencyKeyReused()
        reply.header('idempotency-replayed', 'true')
        return JSON.parse(result) as T
      }
      const result = JSON.stringify(await work(tx)) ?? 'null'
      await tx.execute(
        sql`update idempotency_keys set result = ${seal.close(result, context)} where caller = ${caller} and key = ${key}`,
      )
      // As a repetition gets it, so that the two cannot differ.
      return JSON.parse(result) as T
    })
  }
}

function keyOf(request: FastifyRequest, module: string): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && isIdempotencyKey(key)) return key
  throw new BadInput(module, [
    { path: '/header/idempotency-key', message: 'must be 1 to 255 characters of ASCII, without spaces' },
  ])
}

/** Keyed, since there may be a password in the body, and a plain hash of it could be tried out. */
const fingerprintOf = ({ method, url, body }: FastifyRequest, key: Buffer): string =>
  createHmac('sha256', key)
    .update(JSON.stringify([method, url, body ?? null]))
    .digest('base64url')

/** After a change of `SECRET` nothing can be said of a key from before: not even whether it came with the same body. */
function opened(seal: Seal, result: string, context: string): string {
  try {
    return seal.open(result, context)
  } catch (cause) {
    throw new IdempotencyResultLost({ cause })
  }
}
