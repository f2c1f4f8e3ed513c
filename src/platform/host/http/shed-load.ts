import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Overloaded } from '../../kit/errors.ts'
import type { Gate, Gates } from '../admission.ts'
import { BUSY, FAILED_HEADER, IDENTITY_HEADER } from '../rpc/wire.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Where it has come in, until its answer begins. */
    gate: Gate | undefined
  }
}

/**
 * Refuses requests for a module that has enough to do (503, with `Retry-After`), before anything is done for them. What is
 * no module's (health, documents) is always answered. Put it before whatever costs something.
 *
 * A request counts from its headers until its answer begins, but not while its body is on its way: to send, or to read,
 * slowly must not keep others out.
 */
export function shedLoad(server: FastifyInstance, gates: Gates): void {
  server.decorateRequest('gate', undefined)

  const admit = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
    const { module } = request.routeConfig
    const gate = module === undefined || request.gate ? undefined : gates.of(module)
    if (!gate) return done()
    if (!gate.enter()) {
      // A gateway asks another instance, and does not take this one for ill. Whether it is one is found out later, at some cost.
      if (request.vouched || IDENTITY_HEADER in request.headers) reply.header(FAILED_HEADER, BUSY)
      return done(new Overloaded(gate.module))
    }
    request.gate = gate
    reply.raw.on('close', () => leave(request))
    done()
  }
  server.addHook('onRequest', admit)
  server.addHook('preParsing', (request, _reply, _body, done) => {
    if (hasBody(request)) leave(request)
    done()
  })
  server.addHook('preValidation', admit)
  server.addHook('onSend', (request, _reply, _payload, done) => {
    leave(request)
    done()
  })
}

function leave(request: FastifyRequest): void {
  const { gate } = request
  request.gate = undefined
  gate?.leave()
}

const hasBody = ({ headers }: FastifyRequest): boolean =>
  headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
