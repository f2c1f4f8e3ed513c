/**
 * Everything that keeps the embedded PostgreSQL from running, in sentences that say what is wrong and what to do about
 * it. `cause` carries the underlying error where there is one.
 */
export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError'
}

/** The way out that is always open; it ends the messages of errors that have no better one. */
export const useAnother = 'set DATABASE_URL to use a PostgreSQL of your own'
