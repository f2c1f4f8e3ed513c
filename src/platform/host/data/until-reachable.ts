import { setTimeout as sleep } from 'node:timers/promises'

/** For how long a server that cannot be reached is tried again, and after which pause, in milliseconds. */
const PATIENCE = 4_000
const PAUSE = 250

/** What the network says, or PostgreSQL (57P03), while a server is only starting. */
const NOT_YET = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', '57P03'])

/**
 * The first thing that is asked of a server, which may be starting just as this process is: tried again for 4 s.
 *
 * @throws the last failure, or at once what no waiting would mend
 */
export async function untilReachable<T>(attempt: () => Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!NOT_YET.has(codeOf(error)) || performance.now() > end) throw error
    }
    await sleep(PAUSE)
  }
}

/** Node puts the failures of several addresses into one that has no code of its own. */
function codeOf(error: unknown): string {
  const { code, errors } = error as { code?: string; errors?: { code?: string }[] }
  return code ?? errors?.[0]?.code ?? ''
}
