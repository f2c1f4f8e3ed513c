import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'

/** Columns that change by themselves: with each use of a session, and while something outside is tried again and again. */
const RESTLESS: Record<string, string[]> = {
  'seam.sessions': ['last_used_at'],
  'notifications.outgoing': ['status', 'attempts', 'due_at', 'last_error', 'version', 'sent_at', 'text', 'html'],
}

/** What is in each table: how many rows, and a hash of all of them, whatever their order. */
export type Snapshot = Record<string, string>

/** Looks at the tables of all modules and of the platform. */
export class Database {
  readonly #sql: postgres.Sql
  readonly #schemas: readonly string[]

  constructor(url: string, modules: readonly string[]) {
    this.#sql = postgres(url, { max: 1, onnotice: () => {} })
    this.#schemas = [...modules, 'seam']
  }

  async snapshot(): Promise<Snapshot> {
    const tables = await this.#sql<{ name: string }[]>`
      select format('%I.%I', schemaname, tablename) as name from pg_tables
      where schemaname = any(${this.#schemas as string[]}) order by 1`
    const snapshot: Snapshot = {}
    for (const { name } of tables) {
      const [row] = await this.#sql.unsafe(
        `select count(*)::text || ' rows, ' || coalesce(sum(hashtextextended((to_jsonb(t) - $1::text[])::text, 0)), 0) as is
         from ${name} t`,
        [RESTLESS[name] ?? []] as never,
      )
      snapshot[name] = row!.is
    }
    return snapshot
  }

  /** A snapshot that has not changed for a second: events have arrived and sweeps are done. @throws after a minute */
  async quiet(): Promise<Snapshot> {
    const end = Date.now() + 60_000
    for (let last = await this.snapshot(), since = Date.now(); ; ) {
      await sleep(200)
      const now = await this.snapshot()
      if (changed(last, now).length > 0) [last, since] = [now, Date.now()]
      else if (Date.now() - since > 1_000) return now
      if (Date.now() > end) throw new Error(`The database does not come to rest: ${changed(last, now).join(', ')}`)
    }
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: 5 })
  }
}

/** The tables in which two snapshots differ. */
export const changed = (one: Snapshot, other: Snapshot): string[] =>
  Object.keys({ ...one, ...other })
    .filter((name) => one[name] !== other[name])
    .map((name) => `${name} (${one[name]} -> ${other[name]})`)
