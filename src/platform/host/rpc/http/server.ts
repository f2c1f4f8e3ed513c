import type { FastifyInstance } from 'fastify'
import type { Contract } from '../../../kit/contract.ts'
import { BadInput, SeamError } from '../../../kit/errors.ts'
import { codecOf } from '../../codec.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import { RequestContext } from '../../request-context.ts'
import type { Procedures } from '../procedures.ts'
import { encodeError, IDENTITY_HEADER, MAX_INPUT, RPC_PREFIX, SERVICE_HEADER, TIMEOUT_HEADER } from '../wire.ts'

/**
 * Serves the procedures of a hosted module to other processes. To anyone without a valid service token of a module that
 * may call this one, the address does not exist.
 *
 * @param options.mayCall whether a caller, named by its token, may call this contract
 */
export function serveProcedures(
  server: FastifyInstance,
  contract: Contract,
  options: { procedures: Procedures; tokens: SystemTokens; mayCall: (caller: string) => boolean },
): void {
  server.register(async (scope) => {
    // Keys like `__proto__` are only keys here, as they are in a local call; what comes from outside has been refused.
    scope.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
      try {
        done(null, JSON.parse(body as string))
      } catch (error) {
        done(Object.assign(error as Error, { statusCode: 400 }))
      }
    })
    for (const [name, procedure] of Object.entries(contract.procedures)) {
      const input = codecOf(procedure.input)
      const output = codecOf(procedure.output)
      const target = options.procedures.target(contract.name, contract, name)
      scope.route({
        method: 'POST',
        url: `${RPC_PREFIX}/${contract.name}/${name}`,
        config: { allow: 'anyone', internal: true },
        bodyLimit: MAX_INPUT,
        onRequest(request, reply, done) {
          const token = request.headers[SERVICE_HEADER]
          const claims = typeof token === 'string' ? options.tokens.service.verify(contract.name, token) : undefined
          const vouched = request.headers[IDENTITY_HEADER]
          const user =
            typeof vouched === 'string' ? options.tokens.identity.verify(contract.name, vouched) : { identity: null }
          if (!claims || !user || !options.mayCall(claims.caller)) return reply.callNotFound()
          request.context = RequestContext.of(request, request.headers[TIMEOUT_HEADER])
          request.context.identity = user.identity
          done()
        },
        async handler(request, reply) {
          reply.type('application/json')
          try {
            if (!input.check(request.body)) throw new BadInput(contract.name, input.faults(request.body))
            return output.encode(await target.invoke(request.body, request.context))
          } catch (error) {
            const known = target.failure(error)
            if (!(known instanceof SeamError)) throw known
            reply.code(known.status)
            return JSON.stringify(encodeError(known))
          }
        },
      })
    }
  })
}
