import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { provideProgram } from './programs.ts'

export interface ProvidedRedis {
  /** `redis://127.0.0.1:<port>`, or what `REDIS_URL` says. */
  readonly url: string
  /** Stops the server if it was started here. May be called again, to no effect. */
  close(): Promise<void>
}

/**
 * Finds a real Redis for tests: the one that `REDIS_URL` names, else a `redis-server` or `valkey-server` of this machine,
 * started on a free port and empty, else one that apt-get installs (as root on Debian and Ubuntu only).
 *
 * @throws Error in one line that says how to get a Redis, or why the one that was named does not answer
 *
 * @example
 * const redis = await provideRedis()
 * t.teardown(() => redis.close())
 */
export async function provideRedis(log: (line: string) => void = () => {}): Promise<ProvidedRedis> {
  const named = process.env.REDIS_URL
  if (named) {
    for (const node of named.split(',')) await ping(node.trim())
    return { url: named, close: async () => {} }
  }
  return start(await redisProgram(log))
}

/** The path of a `redis-server` or `valkey-server` of this machine, which is installed where it can be. */
export function redisProgram(log: (line: string) => void = () => {}): Promise<string> {
  const wanted = {
    names: ['redis-server', 'valkey-server'],
    package: 'redis-server',
    advice: 'The tests need a Redis: install redis-server or valkey-server, or set REDIS_URL=redis://host:6379.',
  }
  return provideProgram(wanted, log)
}

async function ping(url: string): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: 3000,
    commandTimeout: 3000,
    retryStrategy: () => null,
  })
  // connect() itself rejects with no more than "Connection is closed.".
  let reason: Error | undefined
  client.on('error', (error) => {
    reason = error
  })
  try {
    await client.connect()
    await client.ping()
  } catch (error) {
    const place = url.replace(/\/\/.*@/, '//')
    throw new Error(`No Redis answers at ${place}: ${(reason ?? (error as Error)).message}`)
  } finally {
    client.disconnect()
  }
}

async function start(program: string): Promise<ProvidedRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'seam-redis-'))
  const port = await freePort()
  const keepNothing = ['--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--databases', '64']
  // A process group of its own: Ctrl-C reaches the tests first, and Redis when they have ended.
  const child = spawn(program, ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder, ...keepNothing], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output = `${output}${chunk}`.slice(-2000)))
  const exited = once(child, 'exit').catch(() => {})

  let closing: Promise<void> | undefined
  const close = async () => {
    child.kill('SIGTERM')
    if (!(await Promise.race([exited.then(() => true), sleep(5000, false, { ref: false })]))) child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  const server = { url: `redis://127.0.0.1:${port}`, close: () => (closing ??= close()) }

  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null || child.signalCode !== null) break
    if (
      await ping(server.url).then(
        () => true,
        () => false,
      )
    )
      return server
    await sleep(50)
  }
  await server.close()
  throw new Error(`${program} did not start on port ${port}: ${output.trim().split('\n').at(-1)}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
