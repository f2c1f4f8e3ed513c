import cluster from 'node:cluster'
import type { FastifyBaseLogger } from 'fastify'
import { within } from '../within.ts'
import type { Serving } from './messages.ts'
import { type Ending, WorkerProcess } from './worker-process.ts'

/** A worker that ends is started again after so many milliseconds, twice as long each time, up to a most. */
const PAUSE = { first: 100, most: 10_000 }
/** One that has served for so many milliseconds begins anew with the shortest pause. */
const WELL = 10_000
/** After so many ends of one worker in a row, while no other serves either, all end. */
const ENDS = 10
/** A worker ends within 20 s by itself. */
const PATIENCE = 22_000

export interface SupervisorOptions {
  readonly count: number
  /** The file that a worker runs. */
  readonly program: string
  /** What workers find in their environment beside that of this process. */
  readonly env: Record<string, string>
  readonly log: FastifyBaseLogger
  /** Is told when workers end again and again and none serves; the supervisor is to be stopped then. */
  readonly onHopeless: (failure: WorkerFailed) => void
}

/** A worker ended before it served. It has said why itself. */
export class WorkerFailed extends Error {
  /** What it ended with. */
  readonly code: number

  constructor(number: number, { code, signal }: Ending) {
    super(`worker ${number} ended before it served (${signal ?? `exit code ${code}`})`)
    this.name = 'WorkerFailed'
    this.code = code || 1
  }
}

/**
 * Starts workers that share their listening ports, starts again what ends, and ends them all. The primary accepts
 * connections and hands each to the next worker (`node:cluster`).
 */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #workers = new Map<number, WorkerProcess>()
  /** By number: how often in a row it has ended without having served for a while. */
  readonly #ends = new Map<number, number>()
  /** The numbers whose worker has served. */
  readonly #began = new Set<number>()
  /** By number: how often one was started in the place of another. */
  readonly #restarts = new Map<number, number>()
  #state: 'starting' | 'running' | 'ending' = 'starting'

  constructor(options: SupervisorOptions) {
    this.#options = options
    cluster.setupPrimary({ exec: options.program })
    for (let number = 1; number <= options.count; number++) this.#restarts.set(number, 0)
  }

  /** How often each worker was started again, by its number. */
  get restarts(): ReadonlyMap<number, number> {
    return this.#restarts
  }

  /** Those that serve. */
  get serving(): WorkerProcess[] {
    return [...this.#workers.values()].filter(({ servingSince }) => servingSince !== undefined)
  }

  /**
   * Starts the first worker, which does what is to be done once (migrations, the embedded PostgreSQL), then all others.
   * Resolves when all serve, or when it was told to end meanwhile.
   *
   * @throws {WorkerFailed} when one ends before that; the others still run then
   */
  async start(): Promise<Serving> {
    const serving = await this.#begin(1)
    if (this.#state === 'ending') return serving
    const others = Array.from({ length: this.#options.count - 1 }, (_, index) => this.#begin(index + 2))
    await Promise.all(others)
    if (this.#state === 'starting') this.#state = 'running'
    return serving
  }

  /** What ends from now on is not started again. */
  hold(): void {
    this.#state = 'ending'
  }

  /**
   * Has all end and waits for them, at most 22 s; then they are killed.
   *
   * @throws {Error} when one did not end well
   */
  async stop(): Promise<void> {
    this.hold()
    const workers = [...this.#workers.values()]
    this.kill('SIGTERM')
    const endings = Promise.all(workers.map(({ ended }) => ended))
    // One that is only starting may end as it can.
    const began = workers.filter(({ servingSince }) => servingSince !== undefined)
    if (!(await within(PATIENCE, endings))) this.kill('SIGKILL')
    await endings
    const failed = (await Promise.all(began.map(({ ended }) => ended))).filter(({ code }) => code !== 0)
    if (failed.length > 0) throw new Error(`${failed.length} of ${began.length} workers did not end well.`)
  }

  kill(signal: NodeJS.Signals): void {
    for (const worker of this.#workers.values()) worker.kill(signal)
  }

  /** Starts a worker, and another in its place whenever it ends. */
  async #begin(number: number): Promise<Serving> {
    const worker = new WorkerProcess(number, this.#options.env)
    this.#workers.set(number, worker)
    const failed = worker.ended.then((ending) => {
      this.#workers.delete(number)
      this.#replace(worker, ending)
      throw new WorkerFailed(number, ending)
    })
    const began = worker.ready.then((serving) => {
      this.#began.add(number)
      return serving
    })
    return Promise.race([began, failed])
  }

  #replace({ number, servingSince }: WorkerProcess, ending: Ending): void {
    // What does not come up at first is a fault of the configuration: start() says so.
    if (this.#state === 'ending' || (this.#state === 'starting' && !this.#began.has(number))) return
    const { log, onHopeless } = this.#options
    const served = servingSince === undefined ? 0 : performance.now() - servingSince
    const ends = served > WELL ? 1 : (this.#ends.get(number) ?? 0) + 1
    this.#ends.set(number, ends)
    if (ends >= ENDS && this.serving.length === 0) {
      onHopeless(new WorkerFailed(number, ending))
      return
    }
    const pause = Math.min(PAUSE.most, PAUSE.first * 2 ** (ends - 1))
    log.error({ worker: number, ...ending, pause }, 'a worker has ended and is started again')
    setTimeout(() => {
      if (this.#state === 'ending') return
      this.#restarts.set(number, this.#restarts.get(number)! + 1)
      this.#begin(number).catch(() => {})
    }, pause)
  }
}
