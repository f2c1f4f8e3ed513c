import pino, { type Logger } from 'pino'

/** The process's log: JSON lines on standard output. Of errors only what people need: drivers hang connections on theirs. */
export function createLog(level: string): Logger {
  return pino({ level, serializers: { err: plainError } })
}

function plainError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    ...(code !== undefined && { code }),
    message: error.message,
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && { cause: plainError(error.cause) }),
  }
}
