import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { chooseAccount } from '../../src/platform/host/data/embedded-postgres/account.ts'
import { findPrograms } from '../../src/platform/host/data/embedded-postgres/programs.ts'
import { surroundings } from '../../src/platform/host/data/embedded-postgres/surroundings.ts'
import { acquireEmbeddedPostgres } from '../../src/platform/host/data/embedded-postgres.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** A PostgreSQL of its own, and another that follows it by streaming. */
export interface Pair {
  readonly primaryUrl: string
  readonly replicaUrl: string
  /** Says something to the replica, such as to hold what comes back (`select pg_wal_replay_pause()`). */
  tell(statement: string): Promise<postgres.RowList<postgres.Row[]>>
  /** Resolves when the replica has all that the primary has written. */
  caughtUp(): Promise<void>
  /** Ends the replica as a crash would. */
  kill(): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
  close(): Promise<void>
}

/** Starts both, with the programs that npm has installed: the replica is a copy of the primary's files, made while that runs. */
export async function startPair(): Promise<Pair> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'seam-pair-')))
  const primary = await acquireEmbeddedPostgres({ folder: join(folder, 'primary') })
  const cluster = join(folder, 'primary', 'cluster')
  const data = join(folder, 'replica', 'data')
  const program = join((await findPrograms()).folder, 'postgres')
  const account = await chooseAccount({ folder, cluster, program })
  const [port] = await freePorts(1)
  const replicaUrl = Object.assign(new URL(primary.url), { port: String(port) }).href
  let server: ChildProcess | undefined

  const ask = async (url: string, statement: string) => {
    const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 2 })
    return sql.unsafe(statement).finally(() => sql.end())
  }
  const start = async () => {
    const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=']
    const command = account.command(program, ['-D', data, ...settings.flatMap((setting) => ['-c', setting])])
    server = spawn(command.file, command.args, { ...surroundings, ...command.identity, stdio: 'ignore' })
    await until('the replica answers', () => ask(replicaUrl, 'select 1').then(Boolean, () => false))
  }
  const end = async (signal: NodeJS.Signals) => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    server.kill(signal)
    await once(server, 'exit')
  }
  await mkdir(join(folder, 'replica'))
  await copyOf(cluster, { data, url: primary.url, owner: account.owner })
  await start()
  return {
    primaryUrl: primary.url,
    replicaUrl,
    tell: (statement) => ask(replicaUrl, statement),
    async caughtUp() {
      const [row] = await ask(primary.url, 'select pg_current_wal_insert_lsn()::text as lsn')
      const behind = `select pg_last_wal_replay_lsn() >= '${row?.lsn}' as ok`
      await until('the replica has all of it', async () => (await ask(replicaUrl, behind))[0]?.ok)
    },
    kill: () => end('SIGQUIT'),
    start,
    async close() {
      await end('SIGQUIT')
      await primary.release()
      await rm(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** What pg_basebackup does, which npm's package lacks. */
async function copyOf(
  cluster: string,
  to: { data: string; url: string; owner: { uid: number; gid: number } | undefined },
): Promise<void> {
  const { data, url, owner } = to
  const write = async (name: string, text: string) => {
    await writeFile(join(data, name), text, { mode: 0o600 })
    if (owner) await chown(join(data, name), owner.uid, owner.gid)
  }
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await sql`select pg_backup_start('replica', true)`
    await promisify(execFile)('cp', ['-a', join(cluster, 'data'), data])
    await rm(join(data, 'postmaster.pid'))
    const [stopped] = await sql`select labelfile from pg_backup_stop(false)`
    await write('backup_label', stopped?.labelfile)
  } finally {
    await sql.end()
  }
  const { hostname, port, username, password } = new URL(url)
  await write('standby.signal', '')
  const conninfo = `host=${hostname} port=${port} user=${username} password=${password}`
  await write('postgresql.auto.conf', `primary_conninfo = '${conninfo}'\n`)
}
