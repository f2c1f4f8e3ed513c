import { createHook } from 'node:async_hooks'
import postgres, { type Sql } from 'postgres'
import type { Test } from 'tap'
import { type Answer, type Api, connect, type User } from '../../api/client.ts'
import { publishedBy } from '../../support/published.ts'
import { startTopology, type Topology, type TopologyOptions } from '../../support/topology.ts'
import { until } from '../../support/until.ts'

/** A Seam in one process, and a view of its database from behind. */
export interface Users {
  api: Api
  sql: Sql
  topology: Topology
  signIn(user: Pick<User, 'email' | 'password'>): Promise<Answer>
  /** The newest token that was given out for mailing to a user. */
  mailedToken(userId: string, event: 'user.created' | 'user.password-reset-requested'): Promise<string>
}

export async function startUsers(t: Test, options: TopologyOptions = {}): Promise<Users> {
  const topology = await startTopology(options)
  const sql = postgres(topology.databaseUrl, { max: 4, onnotice: () => {} })
  t.teardown(async () => {
    await sql.end()
    await topology.close()
  })
  const { url, operate } = topology
  const api = connect(t, { url, operate, smtp: undefined as never, secret: '' })
  return {
    api,
    sql,
    topology,
    signIn: ({ email, password }) => api.post('/api/auth/login', { email, password }),
    async mailedToken(userId, event) {
      const [row] = await until(`${event} of ${userId}`, async () => {
        const rows = await sql<{ token: string }[]>`
          select coalesce(data->>'token', data->>'verificationToken') as token
          from ${publishedBy(sql, 'users')} where key = ${userId} and name = ${event} order by at desc limit 1`
        return rows.length > 0 && rows
      })
      return row!.token
    },
  }
}

/** Watches the hashing of passwords in this process: how many there were, and how many at a time. */
export function watchHashing(t: Test): { count: number; atOnce: number } {
  const seen = { count: 0, atOnce: 0 }
  const running = new Set<number>()
  const hook = createHook({
    init(id, type) {
      if (type !== 'ARGON2REQUEST') return
      seen.count++
      running.add(id)
      seen.atOnce = Math.max(seen.atOnce, running.size)
    },
    before: (id) => void running.delete(id),
  }).enable()
  t.teardown(() => void hook.disable())
  return seen
}
