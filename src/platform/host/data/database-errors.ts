import { BadInput, DeadlineExceeded, type SeamError, Unavailable } from '../../kit/errors.ts'

/** No connection, or one that ended under way: PostgreSQL's classes 08 and 57P0x, no room for more (53300), and the sockets' own codes. */
const AWAY = /^(08...|57P0[1-5]|53300|CONNECT.*|CONNECTION_.*|ECONN.*|EPIPE|ENOTFOUND|ETIMEDOUT)$/
/** PostgreSQL ended a statement that took too long, or waited too long for a lock. */
const LATE = /^(57014|55P03)$/
/** Text that PostgreSQL cannot keep: the null character, in text and in JSON. */
const NOT_TEXT = /^(22021|22P05)$/

/**
 * What an error of the database means for whoever asked the module: the module is {@link Unavailable} while its database
 * is away, {@link DeadlineExceeded} when it took too long, and text that no database can keep is {@link BadInput}. Anything else is undefined: a fault of the module.
 */
export function meaningOf(error: unknown, module: string): SeamError | undefined {
  const code = codeOf(error)
  if (code === undefined) return undefined
  if (AWAY.test(code)) return new Unavailable(module, { cause: error })
  if (LATE.test(code)) return new DeadlineExceeded(module, { cause: error })
  if (NOT_TEXT.test(code)) return new BadInput(module, [{ path: '', message: 'has a null character' }])
  return undefined
}

/** Whether the database could not be reached, or a connection to it ended. */
export function isAway(error: unknown): boolean {
  return AWAY.test(codeOf(error) ?? '')
}

/** drizzle wraps the driver's errors. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : codeOf(error.cause)
}
