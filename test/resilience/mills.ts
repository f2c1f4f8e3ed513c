import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import pino from 'pino'
import type { Test } from 'tap'
import { buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { GRPC_OFFSET } from '../../src/platform/host/rpc/grpc/address.ts'
import type { Client } from '../../src/platform/kit/contract.ts'
import { freePorts } from '../support/ports.ts'
import { freshState } from '../support/topology.ts'
import { catalogue, type Manner, type mill } from './mill.ts'

/** An instance of the mill: a process of its own. */
export interface Mill {
  readonly pid: number
  become(manner: Manner): Promise<void>
  /** How many requests and calls have come to it. */
  count(): Promise<number>
  /** Ends it and waits for its end. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  /** Starts it on the same port once more. */
  start(): Promise<void>
}

/** Three mills, and, in this process, two edges with a bakery each, which call them: one by HTTP, one by gRPC. */
export interface Scene {
  mills: Mill[]
  http: Client<typeof mill>
  grpc: Client<typeof mill>
  /** Gets from the mill through an edge; throws, if the answer is not 200. */
  get(): Promise<{ pid: number }>
  /** Of the edge that calls by HTTP. */
  metrics(): Promise<string>
}

/** Starts a {@link Scene}, which ends with the test. */
export async function scene(t: Test): Promise<Scene> {
  const state = await freshState('postgres', process.env.TEST_DATABASE_TEMPLATE)
  t.teardown(() => state.close())
  const ports = await freePorts(4, GRPC_OFFSET)
  const urls = ports.map((port) => `http://127.0.0.1:${port}`)
  const env = (port: number, modules: string, rpc: string) => ({
    NODE_ENV: 'test',
    SECRET: 'the secret of mills and bakeries, of enough length',
    RATE_LIMIT: '1000000',
    RPC: rpc,
    MODULES: modules,
    EDGE: String(modules === 'bakery'),
    PORT: String(port),
    OPS_PORT: '0',
    MILL_URL: urls.slice(1).join(),
    BAKERY_URL: urls[0]!,
    ...state.env,
  })
  // Who serves gRPC serves HTTP as well.
  const mills = await Promise.all(ports.slice(1).map((port) => startMill(t, env(port, 'mill', 'grpc'))))
  const bakery = async (rpc: 'http' | 'grpc', port: number) => {
    let client: Client<typeof mill>
    const config = readConfig(env(port, 'bakery', rpc), catalogue({ met: (met) => (client = met) }))
    const app = await buildApp(config, pino({ level: 'silent' }))
    t.teardown(() => app.close())
    if (port > 0) await app.listen()
    return { app, client: client! }
  }
  const [one, other] = await Promise.all([bakery('http', ports[0]!), bakery('grpc', 0)])
  return {
    mills,
    http: one.client,
    grpc: other.client,
    async get() {
      const answer = await fetch(`${urls[0]}/api/mill`)
      const text = await answer.text()
      if (answer.status !== 200) throw Object.assign(new Error(text), { code: answer.status })
      return JSON.parse(text)
    },
    metrics: async () => (await one.app.ops.inject('/metrics')).body,
  }
}

async function startMill(t: Test, env: Record<string, string>): Promise<Mill> {
  let child: ChildProcess
  const start = async () => {
    const { PATH, HOME } = process.env
    child = fork(join(import.meta.dirname, 'mill-process.ts'), {
      env: { PATH, HOME, ...env },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('A mill has ended before it was ready.'))),
    ])
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
  const ask = async (message: Manner | 'count') => {
    const answered = once(child, 'message')
    child.send(message)
    return (await answered)[0]
  }
  t.teardown(() => end('SIGKILL'))
  await start()
  return {
    get pid() {
      return child.pid!
    },
    become: ask,
    count: () => ask('count'),
    end,
    signal: (signal) => child.kill(signal),
    start,
  }
}
