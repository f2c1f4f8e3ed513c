import type { SessionKeeper } from '../../src/platform/host/identity/session-keepers.ts'

const never = async () => {
  throw new Error('Nobody asks for sessions here.')
}

/** Keeps no sessions, and is not asked for any. */
export const noSessions: SessionKeeper = {
  get: never,
  set: never,
  replace: never,
  touch: never,
  noteWrite: never,
  destroy: never,
  among: never,
  list: never,
}
