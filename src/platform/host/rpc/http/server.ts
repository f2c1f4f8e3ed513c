import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Contract } from '../../../kit/contract.ts'
import { Overloaded, Unavailable, UnknownProcedure } from '../../../kit/errors.ts'
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

  const callerOf = ({ headers }: IncomingMessage): string | undefined => {
    const token = headers[SERVICE_HEADER]
    const caller = typeof token === 'string' ? tokens.service.verify(module, token)?.caller : undefined
    return caller !== undefined && served.some(({ mayCall }) => mayCall(caller)) ? caller : undefined
  }
  const serve = (response: ServerResponse, caller: string, batchId: unknown, calls: readonly ReceivedCall[]) => {
    const find = (name: string) => {
      for (const { mayCall, of } of served) if (mayCall(caller) && of.has(name)) return of.get(name)
      return undefined
    }
    const id = `${caller} ${batchId}`
    if (server.draining) response.setHeader('connection', 'close')
    const batch = new ReceivedBatch(response, calls.length)
    running.set(id, batch)
    response.on('close', () => {
      running.delete(id)
      batch.end()
    })
    for (const [index, call] of calls.entries()) {
      const user = call.identity === null ? { identity: null } : tokens.identity.verify(module, call.identity)
      const procedure = find(call.procedure)
      if (call.procedure === CANCEL) {
        const [of, which] = [call.input].flat()
        if (typeof of === 'string' && typeof which === 'number') running.get(`${caller} ${of}`)?.cancel(which)
        batch.answer(index, answerLine(index, 'null'))
      } else if (procedure && user) {
        const through = procedure.name.startsWith('$') ? undefined : gate
        if (through?.enter() === false) batch.answer(index, errorLine(index, new Overloaded(module)))
        else new ServedCall(procedure, call, { caller, identity: user.identity }, batch, index, through).run()
      } else if (user) batch.answer(index, errorLine(index, new UnknownProcedure(module, call.procedure)))
      else batch.answer(index, errorLine(index, new Unavailable(module)))
    }
  }

  const path = `${RPC_PREFIX}/${module}`
  server.ahead.push((request, response) => {
    if (request.url !== path || request.method !== 'POST') return false
    const caller = callerOf(request)
    if (caller === undefined) return false
    if (request.headers['content-type'] !== BATCH_TYPE) refuse(response, 415)
    else
      read(request, BODY_LIMIT, (body) => {
        const calls = body === undefined ? 413 : callsIn(body)
        if (typeof calls === 'number') refuse(response, calls)
        else serve(response, caller, request.headers[BATCH_HEADER], calls)
      })
    return true
  })
}

/** Reads a body; `undefined`: it is longer than `limit` bytes. One that breaks off is not handed out at all. */
function read(request: IncomingMessage, limit: number, then: (body: string | undefined) => void): void {
  const pieces: Buffer[] = []
  let length = 0
  request.on('data', (piece: Buffer) => {
    length += piece.length
    if (length <= limit) pieces.push(piece)
    else if (length - piece.length <= limit) then(undefined)
  })
  request.on('end', () => {
    if (length <= limit) then(Buffer.concat(pieces).toString())
  })
}

/** No other process of the system sends what is refused here, so the status says enough. */
function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { connection: 'close', 'content-length': 0 }).end()
}

function callsIn(body: string): ReceivedCall[] | 400 {
  try {
    return readCalls(body)
  } catch {
    return 400
  }
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
