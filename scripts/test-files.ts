import pLimit from 'p-limit'
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

/** Seconds that one file may take. */
const LIMIT = 240

/**
 * Runs test files, each in a process of its own, some at a time, and prints a line a file; of one that failed, also whatever
 * it said that is not `ok`. Node runs them directly: the loader of `tap run`, which notes what each file imports, doubles the
 * time that imports take, since it keeps Node from using its cache of compiled code.
 */
export async function runTestFiles(
  names: readonly string[],
  options: { jobs: number; env: Record<string, string>; print: (line: string) => void },
): Promise<TestFile[]> {
  const limit = pLimit(options.jobs)
  return Promise.all(names.map((name) => limit(() => runTestFile(name, options))))
}

async function runTestFile(
  name: string,
  { env, print }: { env: Record<string, string>; print: (line: string) => void },
): Promise<TestFile> {
  const began = performance.now()
  const lines: string[] = []
  const { code } = await run('node', ['--import', './test/support/no-domains.ts', name], {
    limit: LIMIT,
    env: { TAP_TIMEOUT: '120', ...env },
    onLine: (line) => lines.push(line),
  })
  const time = performance.now() - began
  const { passed, failed } = count(lines, code)
  print(`  ${failed === 0 ? 'ok  ' : 'FAIL'} ${seconds(time)}  ${name}`)
  if (failed > 0) for (const line of lines) if (!NOISE.test(line)) print(`      ${line}`)
  return { name, passed, failed, time }
}

/** What says that all is well, in the Test Anything Protocol. */
const NOISE = /^\s*(ok \d+\b.*|\d+\.\.\d+\b.*|# (Subtest|time).*|TAP version \d+)?$/

function count(lines: readonly string[], code: number): { passed: number; failed: number } {
  // tap ends with its counts: # { total: 4, pass: 1, fail: 1, todo: 1, skip: 1 }
  const totals = lines.findLast((line) => line.startsWith('# { total: ')) ?? ''
  const of = (name: string) => Number(new RegExp(` ${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  const failed = of('fail') + of('skip') + of('todo')
  const good = failed > 0 || (code === 0 && of('pass') > 0)
  return { passed: of('pass'), failed: good ? failed : 1 }
}

/** Milliseconds as seconds, right-aligned. */
export const seconds = (time: number): string => `${(time / 1000).toFixed(1).padStart(6)} s`
