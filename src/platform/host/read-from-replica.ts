import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type Reading, reading } from '../kit/reading.ts'
import type { Replica } from './data/replica.ts'

const readings = new WeakMap<FastifyRequest, Reading>()

/**
 * Has the routes of a module that only read (GET and HEAD, but no streams) read from its replica, where that has all that the
 * caller's session has written. Calls read from the primary: what they answer may be kept, and events may ask for them.
 */
export function readFromReplica(module: FastifyInstance, replica: Replica): void {
  module.addHook('preHandler', (request, _reply, done) => {
    const { method, identity, routeConfig } = request
    if ((method !== 'GET' && method !== 'HEAD') || routeConfig.stream) return done()
    // An edge that does not say when the session has written does not know.
    const since = identity ? identity.wroteAt : 0
    if (since === undefined || !replica.has(since)) return done()
    const from: Reading = { from: replica }
    readings.set(request, from)
    reading.run(from, done)
  })
  module.addHook('onResponse', (request, _reply, done) => {
    const from = readings.get(request)
    if (from) from.from = undefined
    done()
  })
}
