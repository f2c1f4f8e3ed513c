import pino from 'pino'
import postgres from 'postgres'
import type { Test } from 'tap'
import { type App, buildApp } from '../../../src/app.ts'
import { readConfig } from '../../../src/config.ts'
import { BootError } from '../../../src/platform/host/boot-error.ts'
import type { Contract } from '../../../src/platform/kit/contract.ts'
import { defineModule, type Manifest, type ModulePlugin } from '../../../src/platform/kit/module.ts'
import { freshState } from '../../support/topology.ts'

/** A module with its plugin beside it; what a real one has in files of its own. */
export function moduleOf<C extends Contract>(
  contract: C,
  plugin: ModulePlugin<C>,
  parts: { uses?: Contract[]; subscribes?: Manifest['subscribes']; signsIn?: boolean } = {},
): Manifest {
  return defineModule(contract, { ...parts, plugin: async () => ({ default: plugin }) }) as unknown as Manifest
}

/** One database for the applications of one test file. */
export async function bootWith(
  t: Test,
  queue: 'postgres' | 'redis' = 'postgres',
): Promise<{
  /** Builds an application of these modules in one process. */
  build(t: Test, catalogue: readonly Manifest[], env?: Record<string, string>): Promise<App>
  /** Everything that keeps it from starting. */
  faults(catalogue: readonly Manifest[], env?: Record<string, string>): Promise<readonly string[]>
  /** Variables that say where the database is, and Redis. */
  env: Record<string, string>
  /** The database, as its owner. */
  sql: postgres.Sql
}> {
  const state = await freshState(queue)
  const sql = postgres(state.env.DATABASE_URL!, { max: 2, onnotice: () => {} })
  t.teardown(async () => {
    await sql.end()
    await state.close()
  })
  const start = (catalogue: readonly Manifest[], env: Record<string, string>) => {
    const defaults = { NODE_ENV: 'test', LOG_LEVEL: 'silent', PORT: '0', OPS_PORT: '0', SECRET: 'x'.repeat(32) }
    const config = readConfig({ ...defaults, ...state.env, ...env }, catalogue)
    return buildApp(config, pino({ level: config.logLevel }))
  }
  return {
    env: state.env,
    sql,
    async build(t, catalogue, env = {}) {
      const app = await start(catalogue, env)
      t.teardown(() => app.close())
      return app
    },
    async faults(catalogue, env = {}) {
      try {
        const app = await start(catalogue, env)
        await app.close()
        return []
      } catch (error) {
        if (error instanceof BootError) return error.faults
        throw error
      }
    },
  }
}
