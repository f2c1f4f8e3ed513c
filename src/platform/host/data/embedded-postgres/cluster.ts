import { randomBytes } from 'node:crypto'
import { chown, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Account } from './account.ts'
import { EmbeddedPostgresError, useAnother } from './error.ts'
import { type Programs, run } from './programs.ts'

/** What PostgreSQL calls a cluster: a data folder, and beside it the password of its superuser `seam`. */
export interface Cluster {
  readonly folder: string
  readonly data: string
  readonly password: string
}

export function clusterIn(folder: string): Cluster {
  return { folder, data: join(folder, 'data'), password: join(folder, 'password') }
}

const unfinished = 'unfinished-'

// Memory and connections are modest, for one developer's machine; durability is PostgreSQL's own. They are written to
// postgresql.conf, where whoever wants others can change them.
const settings = ['max_connections=300', 'shared_buffers=64MB']

/**
 * Makes the cluster with its database `seam`. It comes into being at once, by a rename: whatever is killed on the way
 * leaves nothing behind but a folder that the next attempt removes.
 *
 * @throws EmbeddedPostgresError with the last lines of initdb's output.
 */
export async function createCluster(
  cluster: Cluster,
  programs: Programs,
  account: Account,
  deadline: number,
): Promise<void> {
  const parent = join(cluster.folder, '..')
  await removeUnfinished(parent)
  const made = clusterIn(await mkdtemp(join(parent, unfinished)))
  await writeFile(made.password, randomBytes(24).toString('base64url'), { mode: 0o600 })
  if (account.owner) {
    for (const path of [made.folder, made.password]) await chown(path, account.owner.uid, account.owner.gid)
  }
  try {
    await run(account, join(programs.folder, 'initdb'), initdbArguments(made), { deadline })
    // The single-user mode needs no running server, so that the database is in the cluster before anybody can see it.
    const single = ['--single', '-D', made.data, '-c', 'exit_on_error=on', 'template1']
    await run(account, join(programs.folder, 'postgres'), single, { input: 'CREATE DATABASE seam\n', deadline })
    await rename(made.folder, cluster.folder)
  } catch (error) {
    await removeUnfinished(parent)
    throw error
  }
}

function initdbArguments({ data, password }: Cluster): string[] {
  const fixed = ['--encoding=UTF8', '--no-locale', '--no-instructions', '--username=seam', '--auth=scram-sha-256']
  return ['-D', data, ...fixed, `--pwfile=${password}`, ...settings.flatMap((setting) => ['-c', setting])]
}

async function removeUnfinished(parent: string): Promise<void> {
  const names = (await readdir(parent)).filter((name) => name.startsWith(unfinished))
  // An initdb whose starter was killed may still be writing; what cannot be removed now is in nobody's way.
  await Promise.all(
    names.map((name) => rm(join(parent, name), { recursive: true, force: true, maxRetries: 3 }).catch(() => {})),
  )
}

/** @throws EmbeddedPostgresError when the cluster was not made by this major version of PostgreSQL. */
export async function checkVersion(cluster: Cluster, programs: Programs): Promise<void> {
  const version = await readFile(join(cluster.data, 'PG_VERSION'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (version?.trim() === programs.major) return
  throw new EmbeddedPostgresError(
    version === undefined
      ? `${cluster.data} holds no PostgreSQL data: put it back, or remove ${cluster.folder} to start afresh.`
      : `${cluster.data} holds data of PostgreSQL ${version.trim()}, and the installed programs are of ` +
          `PostgreSQL ${programs.major}. Dump it with the old version and load it with the new one, ` +
          `remove ${cluster.folder} to start afresh, or ${useAnother}.`,
  )
}
