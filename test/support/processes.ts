import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

const root = join(import.meta.dirname, '../..')

/** How a process ended. */
export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  /** How long it took from the signal to the end, in milliseconds. */
  milliseconds: number
}

/** A Seam as an operating-system process: `node src/main.ts` and environment variables, nothing else. */
export class SeamProcess {
  readonly name: string
  readonly #env: Record<string, string>
  #child: ChildProcess
  #output = ''
  #exited: Promise<unknown>

  private constructor(name: string, env: Record<string, string>) {
    this.name = name
    this.#env = env
    this.#child = this.#spawn()
    this.#exited = once(this.#child, 'close')
  }

  /**
   * Starts a process that is ended with the test, at the latest; what it said is shown if the test fails.
   * Nothing of this process's own environment is handed on.
   */
  static start(t: Test, name: string, env: Record<string, string>): SeamProcess {
    const seam = new SeamProcess(name, env)
    t.teardown(async () => {
      await seam.end('SIGKILL')
      if (!t.passing()) console.error(`--- ${name} said:\n${seam.#output}---`)
    })
    return seam
  }

  /** All that it has written, to either stream. */
  get output(): string {
    return this.#output
  }

  /** Resolves when it says that it is ready, at most 60 s later. */
  async ready(): Promise<this> {
    const until = performance.now() + 60_000
    while (!this.#output.includes('Seam is ready.')) {
      if (this.#hasExited()) throw new Error(`${this.name} ended before it was ready:\n${this.#output}`)
      if (performance.now() > until) throw new Error(`${this.name} was not ready within 60 s:\n${this.#output}`)
      await sleep(10)
    }
    return this
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a signal and waits for the end, at most 15 s; then it is killed. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    const started = performance.now()
    if (!this.#hasExited()) this.#child.kill(signal)
    return this.exit(started)
  }

  /** Waits for it to end by itself, at most 15 s; then it is killed. */
  async exit(since = performance.now()): Promise<Exit> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 15_000)
    await this.#exited
    clearTimeout(timer)
    const { exitCode, signalCode } = this.#child
    return { code: exitCode, signal: signalCode, milliseconds: performance.now() - since }
  }

  /** Starts it once more, as it was. */
  async restart(): Promise<this> {
    await this.end('SIGKILL')
    this.#output = ''
    this.#child = this.#spawn()
    this.#exited = once(this.#child, 'close')
    return this.ready()
  }

  #hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  #spawn(): ChildProcess {
    const { PATH, HOME } = process.env
    const child = spawn(process.execPath, ['src/main.ts'], {
      cwd: root,
      env: { ...(PATH && { PATH }), ...(HOME && { HOME }), ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const keep = (chunk: Buffer) => {
      this.#output += chunk
    }
    child.stdout!.on('data', keep)
    child.stderr!.on('data', keep)
    const kill = () => child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    return child
  }
}
