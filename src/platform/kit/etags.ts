import type { FastifyReply, FastifyRequest } from 'fastify'
import { PreconditionFailed } from './errors.ts'

/**
 * The ETag of a resource, made of the versions of all that its representation depends on: cheaper than a hash of the
 * answer, and known before there is one.
 *
 * @example etagOf(post.version, author.version) // '"3-1"'
 */
export const etagOf = (...versions: readonly (string | number)[]): string => `"${versions.join('-')}"`

/**
 * The answer with one resource: `{ data }` with its ETag, or 304 when the caller has this version already.
 *
 * @example return resource(request, reply, post, etagOf(post.version))
 */
export function resource<T>(request: FastifyRequest, reply: FastifyReply, data: T, etag: string): { data: T } {
  reply.header('etag', etag)
  const known = request.headers['if-none-match']
  const safe = request.method === 'GET' || request.method === 'HEAD'
  if (known !== undefined && safe && lists(known, etag)) return reply.code(304).send() as never
  return { data }
}

/**
 * Lets a change pass if the caller has seen the resource as it is, or does not say what they have seen. Ask it in the
 * transaction of the change, after the row was locked (`for update`): only then is no update lost.
 *
 * @throws {PreconditionFailed} when `If-Match` names other versions
 */
export function ensureMatch(request: FastifyRequest, etag: string): void {
  const wanted = request.headers['if-match']
  if (wanted !== undefined && !lists(wanted, etag)) throw new PreconditionFailed()
}

/**
 * Whether a list of ETags, as in `If-Match`, has this one. A proxy that compresses marks tags as weak (`W/`); since they
 * name versions and not bytes, that makes no difference.
 */
function lists(header: string, etag: string): boolean {
  return header.split(',').some((entry) => {
    const tag = entry.trim().replace(/^W\//, '')
    return tag === '*' || tag === etag
  })
}
