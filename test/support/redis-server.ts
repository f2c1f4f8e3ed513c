import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { provideRedis } from '../../scripts/redis.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** A Redis of the test's own, which it may stop, start and empty. It keeps nothing on disk. */
export interface RedisServer {
  url: string
  start(): Promise<void>
  /** SIGKILL, SIGSTOP or SIGCONT. */
  signal(signal: NodeJS.Signals): Promise<void>
  flush(): Promise<void>
  /** Ends the connections of all clients. */
  cut(): Promise<void>
}

/** Reserves a port for a Redis server; `start()` starts it. Signal SIGKILL at the end. */
export async function redisServer(): Promise<RedisServer> {
  // A server for all tests may be elsewhere; this one needs the program, which is installed where it can be.
  const { REDIS_URL: shared } = process.env
  delete process.env.REDIS_URL
  await (await provideRedis()).close()
  if (shared !== undefined) process.env.REDIS_URL = shared
  const [port] = await freePorts(1)
  const url = `redis://127.0.0.1:${port}`
  let child: ChildProcess | undefined
  const ask = async <T>(question: (redis: Redis) => Promise<T>): Promise<T | undefined> => {
    const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 1000 })
    redis.on('error', () => {})
    return await redis
      .connect()
      .then(() => question(redis))
      .catch(() => undefined)
      .finally(() => redis.disconnect())
  }
  return {
    url,
    async start() {
      const args = ['--bind', '127.0.0.1', '--port', `${port}`, '--save', '', '--appendonly', 'no']
      for (const program of ['redis-server', 'valkey-server']) {
        child = spawn(program, [...args, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' })
        if (await Promise.race([once(child, 'spawn').then(() => true), once(child, 'error').then(() => false)])) break
      }
      await until('Redis', () => ask((redis) => redis.ping()))
    },
    async signal(signal) {
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const exit = signal === 'SIGKILL' ? once(child, 'exit') : undefined
      child.kill(signal)
      await exit
    },
    async flush() {
      if ((await ask((redis) => redis.flushall())) !== 'OK') throw new Error('Redis was not emptied.')
    },
    async cut() {
      await ask((redis) => redis.client('KILL', 'TYPE', 'NORMAL'))
    },
  }
}
