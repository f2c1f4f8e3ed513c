import { execFile } from 'node:child_process'
import { access, constants, readFile, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What a test needs of a machine: one of some programs, and the Debian package that has the first of them. */
export interface Wanted {
  readonly names: readonly string[]
  readonly package: string
  /** The one line for people whose machine has none and gets none: how to help themselves. */
  readonly advice: string
}

/**
 * Finds a program of this machine, else has apt-get install it (as root on Debian and Ubuntu only).
 *
 * @returns its path
 * @throws Error in one line that says how to get it
 */
export async function provideProgram(wanted: Wanted, log: (line: string) => void = () => {}): Promise<string> {
  const found = await find(wanted.names)
  if (found) return found
  if (!(await canInstall())) throw new Error(wanted.advice)
  log(`Installing ${wanted.package} with apt-get.`)
  installing = installing.catch(() => {}).then(() => install(wanted))
  await installing
  const installed = await find(wanted.names)
  if (!installed) throw new Error(`apt-get installed ${wanted.package}, but it is not on the PATH. ${wanted.advice}`)
  return installed
}

/** Two apt-gets cannot work at once. */
let installing: Promise<void> = Promise.resolve()

async function find(names: readonly string[]): Promise<string | undefined> {
  // Servers are often where only root looks.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  for (const name of names) {
    for (const folder of folders) {
      const path = join(folder, name)
      const runs = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
      if (runs) return path
    }
  }
  return undefined
}

async function canInstall(): Promise<boolean> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '')
  return process.getuid?.() === 0 && /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release)
}

async function install({ package: name, advice }: Wanted): Promise<void> {
  const apt = (...args: string[]) =>
    run('apt-get', ['-y', '-o', 'DPkg::Lock::Timeout=120', ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      timeout: 300_000,
    })
  // Debian starts a service when its package is installed, unless this program says no.
  const policy = '/usr/sbin/policy-rc.d'
  const ours = await writeFile(policy, '#!/bin/sh\nexit 101\n', { flag: 'wx', mode: 0o755 }).then(
    () => true,
    () => false,
  )
  try {
    await apt('update')
    await apt('install', '--no-install-recommends', name)
  } catch (error) {
    const reason = String((error as { stderr?: string }).stderr || error)
      .trim()
      .split('\n')
      .at(-1)
    throw new Error(`apt-get could not install ${name} (${reason}). ${advice}`)
  } finally {
    if (ours) await rm(policy, { force: true })
  }
}
