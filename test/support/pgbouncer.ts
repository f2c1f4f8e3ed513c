import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { providePgbouncer } from '../../scripts/pgbouncer.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** The user `nobody` of most systems: PgBouncer does not run as root. */
const NOBODY = 65_534

/** A real PgBouncer of the test's own, in transaction mode, with few connections to PostgreSQL for each of its databases. */
export interface Pgbouncer {
  /** The URL of one of its databases. */
  urlOf(database: string): string
  close(): Promise<void>
}

/**
 * @param url PostgreSQL, and the login for it
 * @param databases what PgBouncer says to PostgreSQL when it connects, by the names of its databases
 */
export async function startPgbouncer(url: string, databases: Readonly<Record<string, string>>): Promise<Pgbouncer> {
  const program = await providePgbouncer()
  const folder = await mkdtemp(join(tmpdir(), 'seam-pgbouncer-'))
  const [port] = await freePorts(1)
  const { hostname, port: at, username, password, pathname } = new URL(url)
  const server = `host=${hostname} port=${at || 5432} dbname=${pathname.slice(1)} user=${username} password=${password}`
  const config = join(folder, 'pgbouncer.ini')
  const lines = [
    '[databases]',
    ...Object.entries(databases).map(([name, query]) => `${name} = ${server} connect_query='${query}'`),
    '[pgbouncer]',
    `listen_addr = 127.0.0.1`,
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = any',
    'pool_mode = transaction',
    // Fewer than clients have, so that each statement may find itself on another connection.
    'default_pool_size = 3',
    'max_client_conn = 500',
  ]
  await writeFile(config, `${lines.join('\n')}\n`)
  const identity = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  if ('uid' in identity) for (const path of [folder, config]) await chown(path, NOBODY, NOBODY)
  const child = spawn(program, ['-q', config], { ...identity, stdio: 'ignore' })
  const urlOf = (database: string) => `postgres://seam@127.0.0.1:${port}/${database}`
  const [first = ''] = Object.keys(databases)
  await until('PgBouncer answers', async () => {
    const sql = postgres(urlOf(first), { max: 1, prepare: false, fetch_types: false })
    return sql`select 1`.then(Boolean, () => false).finally(() => sql.end({ timeout: 1 }))
  })
  return {
    urlOf,
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGQUIT')
        await once(child, 'exit')
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}
