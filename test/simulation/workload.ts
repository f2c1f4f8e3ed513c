import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { SeamError } from '../../src/platform/kit/errors.ts'
import { type Clients, ledger } from './modules.ts'
import type { Deed, Mishap, Scenario } from './scenario.ts'

/** How long after its deadline a call may still be under way, in milliseconds. A busy process has late timers, the one for this as well. */
const SLACK = 100

/** What became of one command, as its caller knows. */
export interface Outcome {
  readonly name: string
  readonly deed: Deed
  /** `undefined`: nobody knows whether it was done. */
  readonly answer: object | 'refused' | undefined
}

/** Makes the calls of a scenario and keeps what came of them. */
export class Workload {
  readonly outcomes: Outcome[] = []
  /** What must not have happened. */
  readonly violations: string[] = []
  /** Attempts that got no answer, by the code of the error. */
  readonly failures: Record<string, number> = {}
  readonly #clients: Clients
  readonly #scenario: Scenario
  readonly #errors: readonly string[]
  readonly #suffer: (mishap: Mishap) => Promise<unknown>

  /** @param suffer lets something befall a process */
  constructor(clients: Clients, scenario: Scenario, suffer: (mishap: Mishap) => Promise<unknown>) {
    this.#clients = clients
    this.#scenario = scenario
    this.#suffer = suffer
    const partial = scenario.faults.some((fault) => fault.includes(':partial'))
    this.#errors = ['Unavailable', 'DeadlineExceeded', ...(partial ? ['CallFailed'] : [])]
  }

  async run(): Promise<void> {
    const { deeds, mishaps, concurrency } = this.#scenario
    const waiting = deeds.entries()
    const suffering: Promise<unknown>[] = []
    const worker = async () => {
      for (const [n, deed] of waiting) {
        suffering.push(...mishaps.filter(({ after }) => after === n).map((mishap) => this.#suffer(mishap)))
        await this.#do(deed, `deed-${n}`)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    await Promise.all(suffering)
  }

  async #do(deed: Deed, name: string): Promise<void> {
    let answer: Outcome['answer']
    for (let attempt = 1; attempt <= deed.attempts && answer === undefined; attempt++) {
      if (attempt > 1) await sleep(20 * attempt)
      answer = await this.#try(deed, name)
    }
    this.outcomes.push({ name, deed, answer })
    if (answer === undefined || !deed.again) return
    const repeated = await this.#try(deed, name)
    if (repeated !== undefined && !isDeepStrictEqual(repeated, answer))
      this.violations.push(
        `${name} was answered with ${JSON.stringify(answer)} and then with ${JSON.stringify(repeated)}`,
      )
  }

  async #try(deed: Deed, name: string): Promise<Outcome['answer']> {
    const overdue = setTimeout(() => {
      this.violations.push(`${name} had not ended ${SLACK} ms after its deadline`)
    }, deed.timeout + SLACK)
    try {
      return await this.#call(deed, name)
    } catch (error) {
      if (error instanceof ledger.errors.NothingToAdd && deed.kind === 'add nothing') return 'refused'
      const code = error instanceof SeamError ? error.code : String(error)
      this.failures[code] = (this.failures[code] ?? 0) + 1
      if (!this.#errors.includes(code))
        this.violations.push(`${name} failed with ${code}, which nothing here can cause`)
      return undefined
    } finally {
      clearTimeout(overdue)
    }
  }

  #call({ kind, amount, timeout }: Deed, deed: string): Promise<object> {
    const options = { timeout, idempotencyKey: deed }
    return kind === 'move'
      ? this.#clients.broker.move({ deed, amount }, options)
      : this.#clients.ledger.add({ deed, amount: kind === 'add' ? amount : 0 }, options)
  }
}
