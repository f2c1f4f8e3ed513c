import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

const PROCESS = new URL('./shop-process.ts', import.meta.url).pathname

/**
 * Starts a process with the module of shop.ts alone, for a test that kills it; ended with the test.
 *
 * @param env where its database is, and how it dies (`DIE`, see shop-process.ts)
 */
export async function startShopProcess(t: Test, env: Record<string, string>) {
  const { PATH = '' } = process.env
  const defaults = {
    NODE_ENV: 'test',
    MODULES: 'shop',
    PORT: '0',
    OPS_PORT: '0',
    SECRET: 's'.repeat(32),
    LOG_LEVEL: 'warn',
  }
  const child = spawn(process.execPath, [PROCESS], {
    env: { PATH, ...defaults, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line'), exit])
  return { url: String(line).replace('ready at ', ''), exit }
}
