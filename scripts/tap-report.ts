/** A test file and what became of it. */
interface TestFile {
  readonly name: string
  readonly passed: boolean
  /** Milliseconds, from the first test to the last. */
  readonly time: number
}

/**
 * Reads the raw output of tap line by line and prints one line a test file, and of a file that failed whatever is not `ok`.
 * (tap's own reporters redraw the screen, which makes thousands of lines where there is no terminal.)
 */
export class TapReport {
  readonly files: TestFile[] = []
  /** Of assertions, as tap counts them: a file that crashes or runs out of time is a failed one, and so is a skipped test. */
  passed = 0
  failed = 0
  readonly #print: (line: string) => void
  #block: string[] = []
  #name: string | undefined

  constructor(print: (line: string) => void) {
    this.#print = print
  }

  line(line: string): void {
    const file = /^(not )?ok \d+ - (.*?)(?: # (?:time=([\d.]+)ms|.*))?$/.exec(line)
    const totals = /^# \{ total: \d+,(.*)\}/.exec(line)?.[1]
    const subtest = /^# Subtest: (.*)/.exec(line)?.[1]
    if (file) this.#file({ passed: !file[1], name: this.#name ?? file[2] ?? '', time: Number(file[3] ?? 0) })
    else if (subtest) this.#name = subtest
    else if (totals) this.#totals(totals)
    else if (line.startsWith('    ')) this.#block.push(line)
    else if (/^ {2}(exitCode: [1-9]|signal: SIG|expired: |failedSkip: )/.test(line)) this.#print(`      ${line.trim()}`)
  }

  #file(file: TestFile): void {
    this.files.push(file)
    this.#print(`  ${file.passed ? 'ok  ' : 'FAIL'} ${seconds(file.time)}  ${file.name}`)
    const noise = /^\s*(ok \d+\b.*|\d+\.\.\d+\b.*|# (Subtest|time).*)?$/
    if (!file.passed) for (const line of this.#block) if (!noise.test(line)) this.#print(`  ${line}`)
    this.#block = []
    this.#name = undefined
  }

  #totals(totals: string): void {
    const count = (name: string) => Number(new RegExp(` ${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
    this.passed += count('pass')
    this.failed += count('fail') + count('skip') + count('todo')
  }
}

/** Milliseconds as seconds, right-aligned. */
export const seconds = (time: number): string => `${(time / 1000).toFixed(1).padStart(6)} s`
