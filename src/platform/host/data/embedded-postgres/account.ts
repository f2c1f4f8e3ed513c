import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { EmbeddedPostgresError, useAnother } from './error.ts'
import { surroundings } from './surroundings.ts'

/** Whom PostgreSQL runs as. */
export interface Account {
  /** The user and group its files must belong to; `undefined` for those of this process. */
  readonly owner: User | undefined
  /** What to spawn in order to run `program` as this account. */
  command(program: string, args: readonly string[]): Command
}

interface User {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

interface Command {
  readonly file: string
  readonly args: readonly string[]
  readonly identity: { readonly uid?: number; readonly gid?: number }
}

export interface AccountOptions {
  /** The folder that will hold the data folder. */
  readonly folder: string
  /** The data folder's parent; an existing one keeps its owner. */
  readonly cluster: string
  /** A program of PostgreSQL, which the account has to reach as well. */
  readonly program: string
  /** Where users are listed (`/etc/passwd`). */
  readonly passwd?: string
}

/**
 * Chooses the account: this process's own, except that PostgreSQL refuses to run as root. Root runs it as the owner of
 * the existing data, else as `postgres`, else as `nobody`. Where that user may not enter a parent folder, as in a
 * checkout below /root, it is given the one capability of passing through; nothing changes hands or modes.
 *
 * @throws EmbeddedPostgresError when no user is there to run it, or the user cannot get to the folders.
 */
export async function chooseAccount(options: AccountOptions): Promise<Account> {
  if (process.getuid?.() !== 0) {
    return { owner: undefined, command: (file, args) => ({ file, args, identity: {} }) }
  }
  const users = await usersIn(options.passwd ?? '/etc/passwd')
  const user = (await ownerOf(options.cluster, users)) ?? substituteFor(users)
  const paths = [...ancestors(options.folder), ...ancestors(options.program)]
  let obstacle = ''
  for (const account of waysToBe(user)) {
    const found = await firstOutOfReach(account, paths)
    if (found === undefined) return account
    obstacle ||= found
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and user "${user.name}", whom it would run as instead, cannot enter ${obstacle}. ` +
      `Move the checkout to a folder that every user can enter, run the application as an ordinary user, or ${useAnother}.`,
  )
}

async function usersIn(passwd: string): Promise<User[]> {
  const rows = (await readFile(passwd, 'utf8')).split('\n').map((line) => line.split(':'))
  return rows.map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
}

async function ownerOf(cluster: string, users: readonly User[]): Promise<User | undefined> {
  const { uid, gid } = await stat(cluster).catch(() => ({ uid: 0, gid: 0 }))
  if (uid === 0) return undefined
  return users.find((user) => user.uid === uid) ?? { name: String(uid), uid, gid }
}

function substituteFor(users: readonly User[]): User {
  for (const name of ['postgres', '_postgres', 'nobody']) {
    const user = users.find((candidate) => candidate.name === name)
    if (user) return user
  }
  throw new EmbeddedPostgresError(
    'PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" to run it as. ' +
      `Add one of them, run the application as an ordinary user, or ${useAnother}.`,
  )
}

/** First the plain way, then with one capability; containers often grant the second but not the first. */
function waysToBe(owner: User): Account[] {
  const { uid, gid } = owner
  const plain: Account = { owner, command: (file, args) => ({ file, args, identity: { uid, gid } }) }
  const capable = ['dac_read_search', 'dac_override'].map((capability): Account => {
    const flags = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
    flags.push(`--inh-caps=+${capability}`, `--ambient-caps=+${capability}`)
    return { owner, command: (file, args) => ({ file: 'setpriv', args: [...flags, file, ...args], identity: {} }) }
  })
  return [plain, ...capable]
}

/** Asks the kernel, by way of a shell that runs as the account: mode bits alone do not tell (ACLs, capabilities). */
async function firstOutOfReach(account: Account, paths: readonly string[]): Promise<string | undefined> {
  const script = 'for path; do [ -x "$path" ] || { printf %s "$path"; exit 1; }; done'
  const command = account.command('/bin/sh', ['-c', script, 'sh', ...paths])
  return await promisify(execFile)(command.file, command.args, { ...surroundings, ...command.identity }).then(
    () => undefined,
    (error: { stdout?: string }) => error.stdout || paths.at(-1),
  )
}

function ancestors(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [path] : [...ancestors(parent), path]
}
