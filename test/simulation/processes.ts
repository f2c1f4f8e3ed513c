import pino from 'pino'
import { type App, buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import type { Manifest } from '../../src/platform/kit/module.ts'
import { planTopology } from '../support/topology.ts'
import type { Mishap, Scenario } from './scenario.ts'

/** The processes of a scenario, as parts of this one, each with listeners of its own. */
export class Processes {
  readonly #catalogue: readonly Manifest[]
  readonly #apps = new Map<string, App>()
  readonly #envs = new Map<string, Record<string, string>>()
  /** One mishap of a process at a time. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(catalogue: readonly Manifest[]) {
    this.#catalogue = catalogue
  }

  async start({ outside, rpc, faults, faultsSeed }: Scenario, state: Record<string, string>): Promise<void> {
    const env = { RPC: rpc, FAULTS: faults.join(','), FAULTS_SEED: String(faultsSeed) }
    const plan = await planTopology({ outside, env, catalogue: this.#catalogue, state })
    for (const { name, env } of plan.processes) this.#envs.set(name, env)
    await Promise.all(plan.processes.map(({ name }) => this.#start(name)))
  }

  /** Resolves when the process serves again; at once when the module is in the process of the workload. */
  suffer({ what, process }: Mishap): Promise<unknown> {
    this.#turn = this.#turn.then(async () => {
      const app = this.#apps.get(process)
      if (what === 'cut connections') app?.api.server.closeAllConnections()
      else if (app) {
        await app.close()
        await this.#start(process)
      }
    })
    return this.#turn
  }

  async close(): Promise<void> {
    await this.#turn.catch(() => {})
    await Promise.all([...this.#apps.values()].map((app) => app.close()))
  }

  async #start(name: string): Promise<void> {
    const config = readConfig(this.#envs.get(name)!, this.#catalogue)
    const app = await buildApp(config, pino({ level: config.logLevel }))
    this.#apps.set(name, app)
    await app.listen()
  }
}
