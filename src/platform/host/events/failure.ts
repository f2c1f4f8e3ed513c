import { toldBy } from '../ops/log.ts'

/** How many of the failures of one event are kept. */
export const KEPT_ERRORS = 10
/** How much is kept of a message and of a stack, in characters. */
const MOST = 4_000

/** What went wrong with an event, once. */
export interface Failure {
  /** ISO 8601, UTC. */
  at: string
  message: string
  stack: string
  /** No handler knows the event, so it is parked: that counts as no attempt. */
  parked?: true
}

/** As the log tells of it: also without people's addresses, and the values of a query. */
export function failureOf(error: Error): Failure {
  const { message, stack = '' } = toldBy(error, MOST)
  return { at: new Date().toISOString(), message: keepable(message), stack: keepable(stack) }
}

/** Without what PostgreSQL cannot keep in `jsonb`. */
const keepable = (text: string): string => text.replaceAll('\0', '').toWellFormed()
