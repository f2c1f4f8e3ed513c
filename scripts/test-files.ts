import { PassThrough } from 'node:stream'
import { run } from './run.ts'

/** A test file and what became of it. */
export interface TestFile {
  readonly name: string
  /** Of assertions. A file that crashed, ran out of time or tested nothing has a failed one, and so is one that was skipped. */
  readonly passed: number
  readonly failed: number
  /** Milliseconds. */
  readonly time: number
}

/** Seconds that a process may say nothing. */
const SILENCE = 600

/** A larger space for new objects, in MB, saves what runs for minutes a part of its garbage collection. */
const FLAGS = ['--max-semi-space-size=64', '--import', './test/support/no-domains.ts']

interface Options {
  /** Processes, each of which takes the next file when it is done with one. */
  readonly workers: number
  readonly env: Record<string, string>
  readonly print: (line: string) => void
}

/**
 * Runs test files and prints a line a file; of one that failed, also whatever it said that is not `ok`. See test-worker.ts
 * for what runs them.
 */
export async function runTestFiles(names: readonly string[], options: Options): Promise<TestFile[]> {
  const left = [...names]
  const files: TestFile[] = []
  const work = async () => {
    while (left.length > 0) files.push(...(await runInOneProcess(left, options)))
  }
  await Promise.all(Array.from({ length: options.workers }, work))
  return files
}

/** Runs the next files, until none is left or one has failed: what that left behind would be in the way of the others. */
async function runInOneProcess(left: string[], { env, print }: Options): Promise<TestFile[]> {
  const files: TestFile[] = []
  const input = new PassThrough()
  const lines: string[] = []
  let name: string | undefined
  let began = 0

  const next = () => {
    name = files.at(-1)?.failed ? undefined : left.shift()
    began = performance.now()
    lines.length = 0
    if (name === undefined) input.end()
    else input.write(`${name}\n`)
  }
  const done = (file: string, passed: number, failed: number) => {
    const time = performance.now() - began
    files.push({ name: file, passed, failed, time })
    print(`  ${failed === 0 ? 'ok  ' : 'FAIL'} ${seconds(time)}  ${file}`)
    if (failed > 0) for (const line of lines) if (!NOISE.test(line)) print(`      ${line}`)
  }
  const hear = (line: string) => {
    lines.push(line)
    const { passed, failed } = JSON.parse(/^# done (.*)$/.exec(line)?.[1] ?? '{}')
    if (name === undefined || passed === undefined) return
    done(name, passed, passed + failed > 0 ? failed : 1)
    next()
  }

  next()
  const { code } = await run('node', [...FLAGS, 'scripts/test-worker.ts'], {
    limit: SILENCE,
    env: { TAP_TIMEOUT: '300', ...env },
    input,
    onLine: hear,
  })
  if (name !== undefined) done(name, 0, 1)
  else if (code !== 0 && files.every(({ failed }) => failed === 0)) done('what ran in one process with it', 0, 1)
  return files
}

/** What says that all is well, in the Test Anything Protocol. */
const NOISE = /^\s*(ok \d+\b.*|\d+\.\.\d+\b.*|# (Subtest|time|done).*|TAP version \d+)?$/

/** Milliseconds as seconds, right-aligned. */
export const seconds = (time: number): string => `${(time / 1000).toFixed(1).padStart(6)} s`
