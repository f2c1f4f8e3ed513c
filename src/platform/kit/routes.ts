import type { FastifyRequest } from 'fastify'
import type { ErrorClass } from './contract.ts'
import type { Allow } from './permissions.ts'

/** What a route declares, in `config`; the platform does the rest, here and in the API's description. */
export interface RouteConfig {
  /** Who may use it. Every route must say so. */
  allow: Allow
  /** Errors of the contract that it may answer with, besides those that follow from the rest (400, 401, 403, 429, 503 …). */
  throws?: readonly ErrorClass[]
  /** Its answers carry an ETag (`resource()`); a PATCH or DELETE heeds `If-Match` (`ensureMatch()`), with `match` a POST, too. */
  etag?: boolean | 'match'
  /** It takes an `Idempotency-Key`, and does its work in `app.once()`. */
  idempotent?: boolean
  /**
   * It is asked for by people who try passwords: `LOGIN_LIMIT` requests a minute for one address, and for one account if
   * `account` names one.
   */
  limit?: { account?: (request: FastifyRequest) => string | undefined }
  /** Its answer goes on and on (server-sent events), so only its beginning has a deadline. Begin with something at once. */
  stream?: boolean
}

declare module 'fastify' {
  interface FastifyContextConfig extends Partial<RouteConfig> {}
}
