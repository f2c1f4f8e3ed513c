/**
 * As a condition of a statement that changes data and stands by itself: PostgreSQL answers before what it did is on its disk,
 * which saves the wait (half a millisecond on an SSD). For what is done again, with the same outcome, if the server crashes
 * within the second that it takes: then the last statements of this kind have not happened, and everything that was committed
 * before something that was flushed has.
 *
 * Source: PostgreSQL, "Asynchronous Commit". The setting holds for the one transaction, so it needs no connection of its own.
 *
 * @example `update deliveries set confirmed_at = now() where id = any($1) and ${UNFLUSHED}`
 */
export const UNFLUSHED = "(select set_config('synchronous_commit', 'off', true)) is not null"
