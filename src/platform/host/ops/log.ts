import pino, { type DestinationStream, type Logger } from 'pino'

/** The process's log: JSON lines on standard output (or where it is told). Of errors only what people need: drivers hang connections on theirs. */
export function createLog(level: string, to: DestinationStream = pino.destination(1)): Logger {
  return pino({ level, serializers: { err: plainError } }, to)
}

function plainError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { code, params } = error as { code?: unknown; params?: unknown }
  // drizzle's errors end with the values of the query: people's addresses, hashes of their passwords.
  const told = (text: string) => (params === undefined ? text : text.replace(/\nparams: [\s\S]*?(?=\n {4}at |$)/, ''))
  return {
    type: error.name,
    ...(code !== undefined && { code }),
    message: told(error.message),
    ...(error.stack !== undefined && { stack: told(error.stack) }),
    ...(error.cause !== undefined && { cause: plainError(error.cause) }),
  }
}
