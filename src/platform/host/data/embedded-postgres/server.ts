import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Account } from './account.ts'
import { EmbeddedPostgresError, useAnother } from './error.ts'
import { lastLines } from './programs.ts'
import { surroundings } from './surroundings.ts'
import { until } from './until.ts'

export interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
}

export interface ServerOptions {
  readonly data: string
  /** The file that PostgreSQL's messages are appended to. */
  readonly log: string
  /** The program `postgres`. */
  readonly program: string
  readonly account: Account
  readonly deadline: number
}

/** The server that runs on a data folder, whoever started it, as it has noted itself in postmaster.pid. */
export async function findPostmaster(data: string): Promise<Postmaster | undefined> {
  const lines = (await readFile(pidFile(data), 'utf8').catch(undefinedIfMissing))?.split('\n')
  if (!lines) return undefined
  // PostgreSQL in single-user mode notes a negative number.
  const pid = Math.abs(Number(lines[0]))
  if (pid && (await isPostmaster(pid, data))) {
    return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' }
  }
  return undefined
}

/**
 * Removes a postmaster.pid that would keep PostgreSQL from starting: one whose number another process has now, or one that
 * is empty. PostgreSQL itself sees through one whose process is dead.
 */
async function removeMisleadingPidFile(data: string): Promise<void> {
  const text = await readFile(pidFile(data), 'utf8').catch(undefinedIfMissing)
  if (text === undefined) return
  const pid = Math.abs(Number(text.split('\n')[0]))
  const misleading = pid ? signal(pid, 0) && !(await isPostmaster(pid, data)) : await isOld(pidFile(data))
  if (misleading) await rm(pidFile(data), { force: true })
}

/** The file of a server that is just being started is empty too, for a moment. */
async function isOld(file: string): Promise<boolean> {
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }))
  return Date.now() - mtimeMs > 1_000
}

const pidFile = (data: string): string => join(data, 'postmaster.pid')

async function isPostmaster(pid: number, data: string): Promise<boolean> {
  if (!signal(pid, 0)) return false
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  // Where the system does not tell, the number has to do.
  if (commandLine === undefined) return signal(pid, 0)
  // It is empty for a dead process that its parent has not yet noticed.
  const [program = '', ...args] = commandLine.split('\0')
  if (basename(program) !== 'postgres') return false
  if (args.includes(data)) return true
  throw new EmbeddedPostgresError(
    `Process ${pid}, which ${join(data, 'postmaster.pid')} names, is a PostgreSQL that was started on another folder. ` +
      `If the checkout has been moved while it ran, stop it ("kill -INT ${pid}"); if it is not yours, remove that file.`,
  )
}

/** Returns whether there is such a process; one that belongs to somebody else is there, and does not get the signal. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/**
 * Starts the server unless it runs, waits until it accepts connections (after a crash it recovers first), and returns
 * its port.
 *
 * @throws EmbeddedPostgresError when PostgreSQL gives up, with its last messages, or when the deadline passes.
 */
export async function startServer(options: ServerOptions): Promise<number> {
  let attempt: Attempt | undefined
  const port = await until(options.deadline, async () => {
    const postmaster = await findPostmaster(options.data)
    if (postmaster) return postmaster.ready ? postmaster.port : undefined
    if (attempt?.running) return undefined
    if (attempt) await failUnlessPassing(attempt, options.log)
    await removeMisleadingPidFile(options.data)
    attempt = await launch(options)
    return undefined
  })
  if (port !== undefined) return port
  const messages = attempt ? `\n${await messagesOf(attempt, options.log)}` : ''
  throw new EmbeddedPostgresError(
    `PostgreSQL did not become ready in time. It may still be recovering: look at ${options.log} and try again.${messages}`,
  )
}

/** A log of more bytes is emptied when the server starts. */
const logLimit = 10_000_000

interface Attempt {
  running: boolean
  /** It was ended by kill -9 rather than by its own decision. */
  killed: boolean
  error: Error | undefined
  /** The length of the log before this attempt wrote to it. */
  readonly logged: number
}

async function launch({ data, log, program, account }: ServerOptions): Promise<Attempt> {
  // Children of a server that was killed may hold its port for a moment more.
  const port = await freePort(await previousPort(data), performance.now() + 1_000)
  const settings = [`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=']
  const command = account.command(program, ['-D', data, ...settings.flatMap((setting) => ['-c', setting])])
  const output = await open(log, 'a', 0o600)
  try {
    if ((await output.stat()).size > logLimit) await output.truncate()
    const attempt: Attempt = { running: true, killed: false, error: undefined, logged: (await output.stat()).size }
    // A session of its own keeps the terminal's Ctrl-C away: the application closes first, then releases the server.
    const stdio = ['ignore' as const, output.fd, output.fd]
    const child = spawn(command.file, command.args, { ...surroundings, ...command.identity, detached: true, stdio })
    child.once('exit', (_, signal) => Object.assign(attempt, { running: false, killed: signal === 'SIGKILL' }))
    child.once('error', (error) => Object.assign(attempt, { running: false, error }))
    child.unref()
    return attempt
  } finally {
    await output.close()
  }
}

/** A port taken at the last moment, or remains of a server that was just killed, are gone at the next attempt. */
async function failUnlessPassing(attempt: Attempt, log: string): Promise<void> {
  if (attempt.killed) return
  const messages = await messagesOf(attempt, log)
  if (/could not create any TCP\/IP sockets|lock file .* (already exists|is empty)|shared memory block/.test(messages))
    return
  throw new EmbeddedPostgresError(`PostgreSQL did not start. Mend what it reports, or ${useAnother}:\n${messages}`, {
    cause: attempt.error,
  })
}

async function messagesOf(attempt: Attempt, log: string): Promise<string> {
  const written = (await readFile(log)).subarray(attempt.logged).toString()
  return lastLines(written) || (attempt.error?.message ?? `(it wrote nothing to ${log})`)
}

/**
 * Stops the server: what runs is rolled back and connections are closed.
 *
 * @throws EmbeddedPostgresError when it still runs at the deadline.
 */
export async function stopServer(data: string, { pid }: Postmaster, deadline: number): Promise<void> {
  // What "pg_ctl stop -m fast" sends; pg_ctl itself would look for the outcome in steps of 100 ms.
  signal(pid, 'SIGINT')
  const stopped = await until(deadline, async () => ((await isPostmaster(pid, data)) ? undefined : true))
  if (!stopped) {
    throw new EmbeddedPostgresError(
      `PostgreSQL (process ${pid}) did not stop in time. "kill -QUIT ${pid}" stops it at once; it then recovers at the next start.`,
    )
  }
}

/**
 * The port of the last start, which is mostly free again: pools reconnect, and what was pasted into a tool stays valid.
 */
async function previousPort(data: string): Promise<number> {
  const options = await readFile(join(data, 'postmaster.opts'), 'utf8').catch(undefinedIfMissing)
  return Number(/"port=(\d+)"/.exec(options ?? '')?.[1] ?? 0)
}

/** The preferred port, if it is free by the given time; else any. */
async function freePort(preferred: number, deadline: number): Promise<number> {
  const server = createServer()
  try {
    // Exclusive, because a worker of node:cluster would be given a port that it shares with its siblings.
    server.listen({ host: '127.0.0.1', port: preferred, exclusive: true })
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address ? address.port : 0
  } catch {
    if (performance.now() >= deadline) return freePort(0, deadline)
    await sleep(10)
    return freePort(preferred, deadline)
  } finally {
    server.close()
  }
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
