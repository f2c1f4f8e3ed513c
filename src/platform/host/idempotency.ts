import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BadInput, IdempotencyKeyReused } from '../kit/errors.ts'
import type { ModuleServices } from '../kit/module.ts'
import { type Database, sql, type Transaction } from '../kit/tables.ts'
import { sealFor } from './identity/seal.ts'

/** 1 to 255 characters of ASCII that can be seen. */
const KEY = /^[\x21-\x7e]{1,255}$/

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

  return async <T>(request: FastifyRequest, reply: FastifyReply, work: (tx: Transaction) => Promise<T>): Promise<T> => {
    if (!request.routeOptions.config.idempotent) throw new TypeError('once() belongs in routes that are idempotent')
    const key = keyOf(request, module)
    if (key === undefined) return db.transaction(work)

    const caller = request.identity?.userId ?? 'anyone'
    const fingerprint = fingerprintOf(request)
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
        const [known] = await tx.execute<{ fingerprint: string; result: string }>(
          sql`select fingerprint, result from idempotency_keys where caller = ${caller} and key = ${key}`,
        )
        if (known?.fingerprint !== fingerprint) throw new IdempotencyKeyReused()
        reply.header('idempotency-replayed', 'true')
        return JSON.parse(seal.open(known.result, context)) as T
      }
      const result = JSON.stringify(await work(tx))
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
  if (typeof key === 'string' && KEY.test(key)) return key
  throw new BadInput(module, [
    { path: '/header/idempotency-key', message: 'must be 1 to 255 characters of ASCII, without spaces' },
  ])
}

const fingerprintOf = ({ method, url, body }: FastifyRequest): string =>
  createHash('sha256')
    .update(JSON.stringify([method, url, body ?? null]))
    .digest('base64url')
