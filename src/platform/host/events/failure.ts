/** How many of the failures of one event are kept. */
export const KEPT_ERRORS = 10
/** How much is kept of a stack, in characters. */
const STACK = 4_000

/** What went wrong with an event, once. */
export interface Failure {
  /** ISO 8601, UTC. */
  at: string
  message: string
  stack: string
}

export const failureOf = ({ message, stack = '' }: Error): Failure => ({
  at: new Date().toISOString(),
  message: keepable(message),
  stack: keepable(stack.slice(0, STACK)),
})

/** Without what PostgreSQL cannot keep in `jsonb`. */
const keepable = (text: string): string => text.replaceAll('\0', '').toWellFormed()
