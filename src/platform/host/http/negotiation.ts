import type { FastifyRequest } from 'fastify'
import Negotiator from 'negotiator'
import { SeamError } from '../../kit/errors.ts'

const JSON_TYPES = inUtf8('application/json', 'application/problem+json')
const STREAM_TYPES = [...inUtf8('text/event-stream'), ...JSON_TYPES]

/** Some ask for the encoding that it has anyway, and to a negotiator that is another type. */
function inUtf8(...types: string[]): string[] {
  return [...types, ...types.map((type) => `${type};charset=utf-8`)]
}

/**
 * Refuses a request whose `Accept` leaves nothing that the route could answer with. Of what others answer (a gateway's
 * proxied routes have no `allow`), nothing is known here.
 *
 * @throws {SeamError} 406
 */
export function ensureAcceptable({ headers: { accept }, routeConfig: config }: FastifyRequest): void {
  if (accept === undefined || accept === '*/*' || !config.allow || !config.module) return
  const types = config.stream ? STREAM_TYPES : JSON_TYPES
  if (new Negotiator({ headers: { accept } }).mediaType(types) !== undefined) return
  const message = `This is answered as ${types[0]} only.`
  throw new SeamError({ module: config.module, code: 'NotAcceptable', status: 406, message })
}
