import { access, constants, mkdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { chooseAccount } from './embedded-postgres/account.ts'
import { checkVersion, clusterIn, createCluster } from './embedded-postgres/cluster.ts'
import { EmbeddedPostgresError, useAnother } from './embedded-postgres/error.ts'
import { type FileLock, tryLock } from './embedded-postgres/lock.ts'
import { findPrograms } from './embedded-postgres/programs.ts'
import { findPostmaster, startServer, stopServer } from './embedded-postgres/server.ts'
import { deadlineIn, until } from './embedded-postgres/until.ts'

export { EmbeddedPostgresError }

export interface EmbeddedPostgresOptions {
  /**
   * Where data, password and log are kept, such as `./.data/postgres`. Made if missing. Everybody who names it shares
   * one server.
   */
  readonly folder: string
  /** Is told, in a sentence each, what takes time: the first start, other starts, the stop (default: nobody is). */
  readonly log?: (line: string) => void
}

export interface EmbeddedPostgres {
  /** `postgres://seam:<password>@127.0.0.1:<port>/seam`; the user `seam` is a superuser. */
  readonly url: string
  /**
   * Ends the use of the server; the last user's release stops it, which disconnects whoever is still connected. May be
   * called again, to no effect. Rejects with EmbeddedPostgresError when the server has not stopped within 15 seconds.
   */
  release(): Promise<void>
}

/**
 * Runs the PostgreSQL that npm installed, for machines without one. Processes, and parts of a process, that name the
 * same folder share one server: the first to acquire starts it (under 1 s the first time, 50 ms later, 2 ms when it
 * runs), the last to release stops it. A user that is killed counts as gone; a server that is killed is recovered by
 * the next to acquire.
 *
 * It listens on 127.0.0.1 only, asks for a password that is in a file readable by its owner alone, and keeps its port
 * from one start to the next where it can. It runs under root too, as another user. It installs no signal handlers and
 * keeps no process alive.
 *
 * @throws EmbeddedPostgresError when it cannot run here, or is not ready within 60 seconds; the message says what to do.
 *
 * @example
 * const postgres = await acquireEmbeddedPostgres({ folder: './.data/postgres', log: console.log })
 * const sql = connect(postgres.url)
 * …
 * await sql.end()
 * await postgres.release()
 */
export async function acquireEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  try {
    return await acquire(options)
  } catch (error) {
    throw explained(error, options.folder)
  }
}

async function acquire({ folder, log = () => {} }: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const programs = await findPrograms()
  await mkdir(folder, { recursive: true })
  const root = await realpath(folder)
  await access(root, constants.W_OK)
  const cluster = clusterIn(join(root, 'cluster'))
  const locks = { mutex: join(root, 'mutex.lock'), users: join(root, 'users.lock') }

  const deadline = deadlineIn(60)
  const mutex = await until(deadline, () => tryLock(locks.mutex, 'exclusive'))
  if (!mutex) {
    throw new EmbeddedPostgresError(
      `Another process has been starting or stopping PostgreSQL in ${root} for a minute. Try again.`,
    )
  }
  try {
    const port = await runningPort()
    const password = await readFile(cluster.password, 'utf8')
    return lease(`postgres://seam:${password}@127.0.0.1:${port}/seam`)
  } finally {
    mutex.release()
  }

  async function runningPort(): Promise<number> {
    const running = await findPostmaster(cluster.data)
    if (running?.ready) return running.port

    const program = join(programs.folder, 'postgres')
    const account = await chooseAccount({ folder: root, cluster: cluster.folder, program })
    if (await isThere(cluster.folder)) {
      await checkVersion(cluster, programs)
    } else {
      log(`Making a PostgreSQL ${programs.major} database in ${root}.`)
      await createCluster(cluster, programs, account, deadline)
    }
    log(`Starting PostgreSQL ${programs.major} in ${root}.`)
    return await startServer({ data: cluster.data, log: join(root, 'server.log'), program, account, deadline })
  }

  function lease(url: string): EmbeddedPostgres {
    const user = tryLock(locks.users, 'shared')
    if (!user) throw new EmbeddedPostgresError(`${locks.users} is locked by a program that has no business there.`)
    let released: Promise<void> | undefined
    return { url, release: () => (released ??= release(user)) }
  }

  async function release(user: FileLock): Promise<void> {
    user.release()
    const deadline = deadlineIn(15)
    const mutex = await until(deadline, () => tryLock(locks.mutex, 'exclusive'))
    // Whoever has been keeping the mutex so long is about to use the server, and will be the one to stop it.
    if (!mutex) return
    try {
      // Held while the server stops, it also proves that no user is left.
      const nobody = tryLock(locks.users, 'exclusive')
      if (!nobody) return
      try {
        const running = await findPostmaster(cluster.data)
        if (!running) return
        log(`Stopping PostgreSQL in ${root}.`)
        await stopServer(cluster.data, running, deadline)
      } finally {
        nobody.release()
      }
    } finally {
      mutex.release()
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
}

const takeOver = 'Make it readable and writable for this user (another one, perhaps root, may have made it)'
const remedies: Readonly<Record<string, string>> = {
  EACCES: takeOver,
  EPERM: takeOver,
  EROFS: 'Name a folder that can be written',
  ENOSPC: 'Make room on the disk',
}

/** Errors of the operating system name a path and a code; what to do about them is added here. */
function explained(error: unknown, folder: string): unknown {
  if (error instanceof EmbeddedPostgresError || !(error instanceof Error) || !('code' in error)) return error
  const remedy = remedies[String(error.code)] ?? 'Put that right'
  const message = `PostgreSQL cannot keep its data in ${folder}: ${error.message}. ${remedy}, or ${useAnother}.`
  return new EmbeddedPostgresError(message, { cause: error })
}
