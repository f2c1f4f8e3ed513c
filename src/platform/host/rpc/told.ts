import { CallFailed, SeamError } from '../../kit/errors.ts'
import type { Target } from './target.ts'

/**
 * How a procedure's failure is told to a caller in another process. One that cannot be written, as with a BigInt in its
 * details, must not end in silence: it is a fault of the module like any other, so it is in the log, and the call has failed.
 *
 * @param write makes of an error what is sent; may throw
 */
export function told<T>(
  procedure: { readonly module: string; readonly name: string; readonly target: Target },
  error: Error,
  write: (error: SeamError) => T,
): { failure: SeamError; written: T } {
  const { module, name, target } = procedure
  const failed = new CallFailed(module, name)
  const failure = error instanceof SeamError ? error : failed
  try {
    return { failure, written: write(failure) }
  } catch (cause) {
    // Without the cause itself, so that nobody takes this for what that may be: a database that is away.
    target.failure(new TypeError(`The details of ${failure.code} are nothing that JSON can say: ${cause}`))
    return { failure: failed, written: write(failed) }
  }
}
