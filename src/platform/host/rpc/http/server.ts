import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Contract } from '../../../kit/contract.ts'
import { BadInput, Overloaded, Unavailable } from '../../../kit/errors.ts'
import type { Gate } from '../../admission.ts'
import { codecOf } from '../../codec.ts'
import type { SystemTokens } from '../../identity/tokens.ts'
import type { Procedures } from '../procedures.ts'
import { MAX_INPUT, RPC_PREFIX, SERVICE_HEADER } from '../wire.ts'
import {
  answerLine,
  BATCH_HEADER,
  BATCH_TYPE,
  CANCEL,
  errorLine,
  FULL,
  MOST_CALLS,
  type ReceivedCall,
  readCalls,
} from './lines-of-calls.ts'
import { ReceivedBatch } from './received-batch.ts'
import { ServedCall, type ServedProcedure } from './served-call.ts'

/** What is served to whom. */
export interface Offer {
  readonly contract: Contract
  /** Whether a caller, named by its token, may call this contract. */
  mayCall(caller: string): boolean
}

/** The heaviest batch: a full one to which the heaviest input was added, and what the lines say besides, in bytes. */
const BODY_LIMIT = 3 * FULL + MAX_INPUT + MOST_CALLS * 2_048

declare module 'fastify' {
  interface FastifyRequest {
    /** The module that calls, by its token; only in requests between processes. */
    callingModule: string
  }
}

/**
 * Serves the procedures of a hosted module to other processes, in batches (see `lines-of-calls.ts`). To anyone without a valid
 * service token of a module that may call this one, the address does not exist.
 *
 * @param options.gate lets no more calls in than the module takes on; what the platform itself asks always comes in
 */
export function serveProcedures(
  server: FastifyInstance,
  module: string,
  offers: readonly Offer[],
  options: { procedures: Procedures; tokens: SystemTokens; gate?: Gate | undefined },
): void {
  const { procedures, tokens, gate } = options
  const served = offers.map(({ contract, mayCall }) => ({ mayCall, of: proceduresOf(contract, procedures) }))
  const running = new Map<string, ReceivedBatch>()

  server.register(async (scope) => {
    scope.decorateRequest('callingModule', '')
    scope.addContentTypeParser(BATCH_TYPE, { parseAs: 'string' }, (_request, body, done) => done(null, body))
    scope.route({
      method: 'POST',
      url: `${RPC_PREFIX}/${module}`,
      config: { allow: 'anyone', internal: true },
      bodyLimit: BODY_LIMIT,
      onRequest(request, reply, done) {
        const token = request.headers[SERVICE_HEADER]
        const caller = typeof token === 'string' ? tokens.service.verify(module, token)?.caller : undefined
        if (caller === undefined || !served.some(({ mayCall }) => mayCall(caller))) return reply.callNotFound()
        request.callingModule = caller
        done()
      },
      handler(request, reply) {
        const calls = callsOf(request, module)
        const { callingModule: caller } = request
        const find = (name: string) => {
          for (const { mayCall, of } of served) if (mayCall(caller) && of.has(name)) return of.get(name)
          return undefined
        }
        const id = `${caller} ${request.headers[BATCH_HEADER]}`
        reply.hijack()
        if (scope.draining) reply.raw.setHeader('connection', 'close')
        const batch = new ReceivedBatch(reply.raw, calls.length)
        running.set(id, batch)
        reply.raw.on('close', () => {
          running.delete(id)
          batch.end()
        })
        for (const [index, call] of calls.entries()) {
          const user = call.identity === null ? { identity: null } : tokens.identity.verify(module, call.identity)
          const procedure = find(call.procedure)
          if (call.procedure === CANCEL) {
            const [of, which] = [call.input].flat()
            running.get(`${caller} ${of}`)?.cancel(Number(which))
            batch.answer(index, answerLine(index, 'null'))
          } else if (procedure && user) {
            const through = procedure.name.startsWith('$') ? undefined : gate
            if (through?.enter() === false) batch.answer(index, errorLine(index, new Overloaded(module)))
            else new ServedCall(procedure, call, { caller, identity: user.identity }, batch, index, through).run()
          } else batch.answer(index, errorLine(index, new Unavailable(module)))
        }
      },
    })
  })
}

function proceduresOf(contract: Contract, procedures: Procedures): ReadonlyMap<string, ServedProcedure> {
  return new Map(
    Object.entries(contract.procedures).map(([name, procedure]) => {
      const target = procedures.target(contract.name, contract, name)
      const [input, output] = [codecOf(procedure.input), codecOf(procedure.output)]
      return [name, { module: contract.name, name, input, output, target }]
    }),
  )
}

/** @throws {BadInput} */
function callsOf({ body }: FastifyRequest, module: string): ReceivedCall[] {
  try {
    return readCalls(typeof body === 'string' ? body : '')
  } catch (error) {
    throw new BadInput(module, [{ path: '', message: 'is no batch of calls' }], (error as Error).message)
  }
}
