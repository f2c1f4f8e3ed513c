import { Type } from 'typebox'
import { type Contract, defineContract, query } from '../kit/contract.ts'
import { SeamError } from '../kit/errors.ts'
import type { CallStatistics } from './rpc/call-stats.ts'
import { createClient } from './rpc/client.ts'
import type { Adapter } from './rpc/target.ts'

/** The name under which the platform itself calls. No module can have it. */
export const PLATFORM = 'seam'

/** How long a module may take to say that it is well, in milliseconds; the whole answer must be there within 1 s. */
const TIMEOUT = 500

/** What the platform asks every module, through the same adapters that its procedures are called through. */
export const healthContract = (module: string) =>
  defineContract(module, { procedures: { $health: query({ input: Type.Object({}), output: Type.Object({}) }) } })

export interface ServiceHealth {
  status: 'healthy' | 'unavailable'
  /** Milliseconds. */
  responseTime: number
  /** Why it is not healthy, as an error code. */
  code?: string
}

export interface SystemHealth {
  status: 'healthy' | 'degraded'
  services: Record<string, ServiceHealth>
}

/** Asks all modules at once how they are, wherever they run. Never rejects, and answers within 1 s. */
export function healthOf(
  modules: readonly Contract[],
  options: { adapterOf: (contract: Contract) => Adapter; statistics: CallStatistics },
): () => Promise<SystemHealth> {
  const clients = modules.map(({ name }) => {
    const contract = healthContract(name)
    const adapter = options.adapterOf(contract)
    return {
      name,
      client: createClient(contract, { caller: PLATFORM, adapter, strict: false, statistics: options.statistics }),
    }
  })
  return async () => {
    const services = await Promise.all(
      clients.map(async ({ name, client }) => {
        const started = performance.now()
        const took = () => Math.round((performance.now() - started) * 10) / 10
        try {
          await client.$health({}, { timeout: TIMEOUT })
          return [name, { status: 'healthy', responseTime: took() }] as const
        } catch (error) {
          const code = error instanceof SeamError ? error.code : 'Unavailable'
          return [name, { status: 'unavailable', responseTime: took(), code }] as const
        }
      }),
    )
    const healthy = services.every(([, { status }]) => status === 'healthy')
    return { status: healthy ? 'healthy' : 'degraded', services: Object.fromEntries(services) }
  }
}
