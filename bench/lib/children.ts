import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const ROOT = join(import.meta.dirname, '../..')
/** The question that every program answers. */
const CPU = 'cpu'
const running = new Set<ChildProcess>()

/** A program of the benchmark in a process of its own, so that nobody shares a heap or compiled code with anybody. */
export interface Worker {
  /** What the program said when it was ready. */
  readonly ready: Record<string, unknown>
  ask<T>(question: object): Promise<T>
  /** The processor's time that it has taken so far, in microseconds. */
  cpu(): Promise<number>
  end(): Promise<void>
}

/** Starts a program that was written with {@link serve}. */
export async function startWorker(file: string, options: object = {}): Promise<Worker> {
  const child = fork(join(import.meta.dirname, '..', file), [JSON.stringify(options)], {
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  running.add(child)
  const message = async <T>() => {
    const gone = new AbortController()
    try {
      return await Promise.race([
        once(child, 'message', { signal: gone.signal }).then(([value]) => value as T),
        once(child, 'exit', { signal: gone.signal }).then(() => Promise.reject(new Error(`${file} ended by itself.`))),
      ])
    } finally {
      gone.abort()
    }
  }
  const ask = <T>(question: string | object) => {
    child.send(question)
    return message<T>()
  }
  return {
    ready: await message<Record<string, unknown>>(),
    ask,
    cpu: () => ask<number>(CPU),
    end: () => end(child),
  }
}

/** Starts any program under this process's Node.js and hands out its process id; what it writes is dropped. */
export function startProgram(
  args: readonly string[],
  env: Record<string, string>,
): { pid: number; end(): Promise<void> } {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  running.add(child)
  return { pid: child.pid!, end: () => end(child) }
}

/** The other side of {@link startWorker}: prepares, reports, and answers one question after the other. */
export async function serve<O>(
  prepare: (options: O) => Promise<{ ready?: object; answer?: (question: never) => unknown }>,
): Promise<void> {
  for (const event of ['disconnect', 'SIGTERM']) process.on(event, () => process.exit())
  const { ready, answer } = await prepare(JSON.parse(process.argv[2] ?? '{}') as O)
  process.on('message', async (question) => {
    const { user, system } = process.cpuUsage()
    process.send!(question === CPU ? user + system : await answer?.(question as never))
  })
  process.send!(ready ?? {})
}

/** Ends everything that was started here and still runs. */
export const endAll = (): Promise<unknown> => Promise.all([...running].map(end))

async function end(child: ChildProcess): Promise<void> {
  running.delete(child)
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const late = sleep(10_000, undefined, { ref: false }).then(() => child.kill('SIGKILL'))
  await Promise.race([exited, late])
}
