import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../test/support/ports.ts'
import { startProgram } from './children.ts'

/** A server that is ready. */
export interface Started {
  readonly pid: number
  readonly port: number
  /** Milliseconds from the start of its process until it said that it is ready. */
  readonly startedIn: number
  end(): Promise<void>
}

/** Starts the one-process application as an operator does: `src/main.ts` and variables. */
export async function startApplication(variables: Record<string, string>): Promise<Started> {
  const [port, opsPort] = (await freePorts(2)) as [number, number]
  return started(['src/main.ts'], port, opsPort, {
    NODE_ENV: 'production',
    SECRET: 'the benchmark keeps nothing secret, and says so in 32 or more letters',
    RATE_LIMIT: '1000000000',
    LOG_LEVEL: 'warn',
    MODULES: 'all',
    HOST: '127.0.0.1',
    PORT: String(port),
    OPS_PORT: String(opsPort),
    ...variables,
  })
}

/** Starts a Fastify that answers `/readyz` and nothing else. */
export async function startBareFastify(): Promise<Started> {
  const [port] = (await freePorts(1)) as [number]
  return started(['bench/start/bare-fastify.ts'], port, port, { NODE_ENV: 'production', PORT: String(port) })
}

async function started(
  args: string[],
  port: number,
  opsPort: number,
  variables: Record<string, string>,
): Promise<Started> {
  const from = performance.now()
  const { pid, end } = startProgram(args, variables)
  while (!(await isReady(opsPort))) {
    if (performance.now() - from > 20_000) throw new Error(`${args} is not ready after 20 s.`)
    await sleep(5)
  }
  return { pid, port, startedIn: performance.now() - from, end }
}

const isReady = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/readyz`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(1000),
  }).then(
    (response) => response.ok,
    () => false,
  )
