import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CallContext } from '../kit/call-context.ts'
import { BadInput } from '../kit/errors.ts'
import type { ModuleServices } from '../kit/module.ts'
import type { Database, Transaction } from '../kit/tables.ts'
import { type Claim, Claims } from './idempotency-claim.ts'
import { isIdempotencyKey } from './idempotency-key.ts'
import { RequestContext } from './request-context.ts'

type Work<T> = (tx: Transaction) => Promise<T>

/** Makes `app.once` of a module: for its routes and for its procedures, which differ in whose a key is and what it is for. */
export function onceIn(module: string, options: { db: Database; secret: string }): ModuleServices['once'] {
  const { db } = options
  const claims = new Claims(module, options)

  const ofRequest = async <T>(request: FastifyRequest, reply: FastifyReply, work: Work<T>): Promise<T> => {
    const claim = claimOfRequest(request, module)
    if (!claim) return db.transaction(work)
    const { result, replayed } = await claims.once(claim, work)
    if (replayed) reply.header('idempotency-replayed', 'true')
    return result
  }
  const ofCall = async <T>(context: CallContext, work: Work<T>): Promise<T> => {
    const claim = claimOfCall(context, module)
    return claim ? (await claims.once(claim, work)).result : db.transaction(work)
  }
  return <T>(...args: [CallContext, Work<T>] | [FastifyRequest, FastifyReply, Work<T>]) =>
    args.length === 2 ? ofCall(...args) : ofRequest(...args)
}

function claimOfRequest(request: FastifyRequest, module: string): Claim | undefined {
  if (!request.routeOptions.config.idempotent) throw new TypeError('once() belongs in routes that are idempotent')
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !isIdempotencyKey(key))
    throw new BadInput(module, [
      { path: '/header/idempotency-key', message: 'must be 1 to 255 characters of ASCII, without spaces' },
    ])
  const { method, url, body, identity } = request
  return { caller: identity?.userId ?? 'anyone', key, asked: [method, url, body ?? null], refusedBy: 'seam' }
}

function claimOfCall(context: CallContext, module: string): Claim | undefined {
  const { idempotencyKey: key, identity } = context
  if (key === undefined) return undefined
  if (!(context instanceof RequestContext) || !context.keyed)
    throw new TypeError('once() takes the context of the call')
  const { procedure, input } = context.keyed
  // No user's id has a space in it, so the keys of calls and of requests are apart.
  const caller = `${context.caller} ${procedure} ${identity?.userId ?? 'anyone'}`
  return { caller, key, asked: input, refusedBy: module }
}
