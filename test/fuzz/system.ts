import type { Test } from 'tap'
import { catalogue } from '../../src/modules/catalogue.ts'
import { type Api, connect } from '../api/client.ts'
import { SeamProcess } from '../support/processes.ts'
import { run } from '../support/run.ts'
import { startSmtp } from '../support/smtp.ts'
import { freshState, planTopology } from '../support/topology.ts'
import { Database } from './database.ts'
import { COLLECTABLE } from './memory.ts'

/** A Seam of real processes, made for one run. */
export interface System {
  api: Api
  processes: { process: SeamProcess; opsUrl: string }[]
  database: Database
}

const SECRET = 'the secret of the fuzz run, of enough length'

/** Starts one; it ends with the test. */
export async function startSystem(t: Test, outside: readonly string[]): Promise<System> {
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const state = await freshState('postgres')
  t.teardown(() => state.close())
  const env = { SMTP_URL: smtp.url, SECRET, LOG_LEVEL: 'warn', ...COLLECTABLE }
  const plan = await planTopology({ outside, state: state.env, env })
  const processes = plan.processes.map(({ name, opsUrl, env }) => ({
    process: SeamProcess.start(t, name, env),
    opsUrl,
  }))
  await Promise.all(processes.map(({ process }) => process.ready()))

  const operate = async (...args: string[]) => {
    const { env } = plan.processes.find(({ name }) => name === 'users') ?? plan.processes[0]!
    const { code, stdout, stderr } = await run('src/seam.ts', { REDIS_URL: undefined, ...env }, args)
    if (code !== 0) throw new Error(stderr)
    return stdout
  }
  const database = new Database(
    state.env.DATABASE_URL!,
    catalogue.map(({ contract }) => contract.name),
  )
  t.teardown(() => database.close())
  return { api: connect(t, { url: plan.url, smtp, secret: SECRET, operate }), processes, database }
}
