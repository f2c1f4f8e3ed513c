import type { SeamError } from '../../../kit/errors.ts'
import { encodeError } from '../wire.ts'

// How calls travel: `POST /_seam/<module>`, one line of JSON for each call; each answer is a line of its own, written as soon
// as it is there, in any order. What calls have in common (who calls, for which module) is in the headers.

/**
 * So many calls are sent in one request, at most. With more in it a call costs less, but while the far side works on all that
 * there is, this one has nothing to do: of 8, 12, 16, 24, 32 and 64, this was the fastest with 64 calls in flight.
 */
export const SENT_CALLS = 16
/** A request with more calls is refused. */
export const MOST_CALLS = 64
/** A request that weighs this much takes no more calls, in characters. */
export const FULL = 256 * 1024

export const BATCH_TYPE = 'application/x-ndjson'
/** Names a request, so that a call in it can be given up by {@link CANCEL}. */
export const BATCH_HEADER = 'x-seam-batch'
/** In place of a procedure: the caller does not wait for that call any more. The input is `[batch, index]`. */
export const CANCEL = '$cancel'

/** One call as it arrives. What it says is not believed before it has been looked at. */
export interface ReceivedCall {
  procedure: string
  /** How long the caller waits, in milliseconds. */
  timeout: number
  requestId: string
  traceparent: string
  /** The token that vouches for the user. */
  identity: string | null
  idempotencyKey: string | null
  input: unknown
}

export function callLine(call: Omit<ReceivedCall, 'input'>, body: string): string {
  const { procedure, timeout, requestId, traceparent, identity, idempotencyKey } = call
  // All but the key of the caller's choice is known to need no escaping: ids are checked where they come in.
  const key = idempotencyKey === null ? 'null' : JSON.stringify(idempotencyKey)
  return `["${procedure}",${timeout},"${requestId}","${traceparent}",${identity === null ? 'null' : `"${identity}"`},${key},${body}]\n`
}

/** @throws {SyntaxError} when it is no batch */
export function readCalls(text: string): ReceivedCall[] {
  const lines = text.split('\n')
  if (lines.pop() !== '' || lines.length === 0 || lines.length > MOST_CALLS) throw new SyntaxError('This is no batch.')
  return lines.map((line) => {
    const call: unknown = JSON.parse(line)
    if (!Array.isArray(call) || call.length !== 7) throw new SyntaxError('This is no call.')
    const [procedure, timeout, requestId, traceparent, identity, idempotencyKey, input] = call
    const text = [procedure, requestId, traceparent, identity ?? '', idempotencyKey ?? '']
    if (!text.every((value) => typeof value === 'string') || !(timeout > 0)) throw new SyntaxError('This is no call.')
    return { procedure, timeout, requestId, traceparent, identity, idempotencyKey, input }
  })
}

/** @param json the result as JSON text */
export const answerLine = (index: number, json: string): string => `${index} ${json}\n`

export const errorLine = (index: number, error: SeamError): string => `${index}!${JSON.stringify(encodeError(error))}\n`

/** An answer as it arrives. */
export interface ReceivedAnswer {
  index: number
  failed: boolean
  /** The result, or a {@link WireError}. */
  value: unknown
}

/** @throws {SyntaxError} when it is none */
export function readAnswer(line: string): ReceivedAnswer {
  let end = 0
  let index = 0
  for (let digit = line.charCodeAt(0) - 48; digit >= 0 && digit <= 9; digit = line.charCodeAt(++end) - 48)
    index = index * 10 + digit
  const mark = line[end]
  if (end === 0 || end > 3 || (mark !== ' ' && mark !== '!')) throw new SyntaxError('This is no answer.')
  return { index, failed: mark === '!', value: JSON.parse(line.slice(end + 1)) }
}
