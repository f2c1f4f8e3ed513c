import pino, { type DestinationStream, type Logger } from 'pino'
import { RequestContext } from '../request-context.ts'

/** Names under which there may be what is nobody's business. */
const SECRET = ['password', 'token', 'secret', 'authorization', 'cookie', 'email', 'phone']
const HIDDEN = SECRET.flatMap((name) => [name, `*.${name}`])

/**
 * The process's log: JSON lines on standard output (or where it is told). What is logged in the course of a request carries
 * its ids. Of errors only what people need: drivers hang connections on theirs. Addresses of people, and what goes by the
 * name of a secret, are left out.
 */
export function createLog(level: string, to: DestinationStream = pino.destination(1)): Logger {
  return pino(
    {
      level,
      serializers: { err: plainError, reason: withoutAddresses },
      redact: { paths: HIDDEN, censor: '…' },
      mixin: (line, _level, log) => idsFor(line, log),
    },
    to,
  )
}

function idsFor(line: object, log: Pick<Logger, 'bindings'>): object {
  const context = RequestContext.current()
  if (!context) return {}
  const { requestId, traceId } = context
  const known = 'requestId' in line || 'requestId' in log.bindings()
  return known ? { traceId } : { requestId, traceId }
}

const withoutAddresses = (text: unknown): unknown => (typeof text === 'string' ? hideAddresses(text) : text)
const hideAddresses = (text: string): string => text.replace(/[^\s@<>"'(),;:=]+@[\w-]+(\.[\w-]+)+/g, '…@…')

/**
 * What an error says, without addresses of people and the values of a query that failed.
 *
 * @param most of each text, in characters
 */
export function toldBy(error: Error, most?: number): { message: string; stack?: string } {
  const { message, stack } = error
  // drizzle's errors end with the values of the query: people's addresses, hashes of their passwords.
  const said = 'params' in error ? message.replace(/\nparams: [\s\S]*/, '') : message
  const told = (text: string) => hideAddresses(text.slice(0, most))
  return {
    message: told(said),
    ...(stack !== undefined && { stack: told(stack.replace(message, () => said)) }),
  }
}

function plainError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    ...(code !== undefined && { code }),
    ...toldBy(error),
    ...(error.cause !== undefined && { cause: plainError(error.cause) }),
  }
}
