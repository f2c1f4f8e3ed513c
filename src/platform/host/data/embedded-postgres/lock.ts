import { accessSync, constants } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

export interface FileLock {
  release(): void
}

const statements = {
  shared: 'BEGIN; SELECT 1 FROM sqlite_schema',
  exclusive: 'BEGIN EXCLUSIVE',
}

// A database that is collected as garbage is closed, and its lock with it. A holder may keep nothing but the URL.
const held = new Set<DatabaseSync>()

/**
 * Takes a lock on `file`: `shared` with any number of other holders, or `exclusive` of all others, in this process and
 * in every other one. Returns `undefined`, at once, when somebody holds it in a way that forbids this.
 *
 * The kernel keeps the lock and drops it when its holder dies, however it dies, so no lock is ever stale and none has
 * to be stolen. Node offers no file locks, SQLite does: the file is a database that stays empty. Nothing else in this
 * process may open the file, because closing a file drops a process's locks on it.
 *
 * @example
 * const lock = tryLock('.data/postgres/mutex.lock', 'exclusive')
 * if (lock) try { … } finally { lock.release() }
 */
export function tryLock(file: string, mode: keyof typeof statements): FileLock | undefined {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    // An empty database has nothing to undo, so it needs no journal beside it.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec(statements[mode])
    // On a file that it may not write, SQLite takes a shared lock for an exclusive one and keeps quiet.
    accessSync(file, constants.R_OK | constants.W_OK)
  } catch (error) {
    database.close()
    if (isBusy(error)) return undefined
    throw error
  }
  held.add(database)
  return {
    release() {
      if (held.delete(database)) database.close()
    },
  }
}

function isBusy(error: unknown): boolean {
  const SQLITE_BUSY = 5
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
}
