import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules/.bin')
const children = new Set<ChildProcess>()

interface Options {
  /** Seconds after which the program is ended; with `onLine`, seconds without a line. */
  readonly limit: number
  readonly env?: Record<string, string>
  /** What it reads (default: nothing). */
  readonly input?: Readable
  /** Gets each line of both streams instead of their being collected. */
  readonly onLine?: (line: string) => void
}

/** Runs a program of node_modules/.bin in a process group of its own and resolves with its exit code and output. */
export async function run(
  program: string,
  args: readonly string[],
  { limit, env, input, onLine }: Options,
): Promise<{ code: number; output: string }> {
  const child = spawn(join(bin, program), args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    detached: true,
  })
  children.add(child)
  let output = ''
  const timer = setTimeout(() => {
    const why = `${program} was ended: ${onLine ? 'it was silent' : 'it ran'} for ${limit} seconds.`
    if (onLine) onLine(why)
    else output += `\n${why}`
    void end(child)
  }, limit * 1000)
  const streams = [child.stdout!, child.stderr!]
  for (const stream of streams)
    if (onLine)
      createInterface({ input: stream }).on('line', (line) => {
        timer.refresh()
        onLine(line)
      })
    else stream.on('data', (chunk: Buffer) => (output += chunk))
  // Who has ended reads no more.
  if (input) input.pipe(child.stdin!).on('error', () => {})

  const closed = new Promise((resolve) => child.once('close', resolve))
  try {
    const [code] = await once(child, 'exit')
    // What a test left running would hold the output open for ever.
    await Promise.race([closed, sleep(1000).then(() => end(child))])
    return { code: code ?? 1, output }
  } finally {
    clearTimeout(timer)
    for (const stream of streams) stream.destroy()
    children.delete(child)
  }
}

/** Ends all that {@link run} has started and that still runs, within 6 seconds. */
export async function endAll(): Promise<void> {
  await Promise.all([...children].map(end))
}

/** Ends a child and all that it started, also what ignores SIGTERM. */
async function end(child: ChildProcess): Promise<void> {
  const signal = (name: NodeJS.Signals | 0): boolean => {
    try {
      return process.kill(-child.pid!, name)
    } catch {
      return false
    }
  }
  signal('SIGTERM')
  for (let waited = 0; waited < 5000 && signal(0); waited += 50) await sleep(50)
  signal('SIGKILL')
}
