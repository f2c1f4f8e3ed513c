import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { redisProgram } from '../../scripts/redis.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

const NODES = 3
const SLOTS = 16_384

/** A cluster of three real nodes, each with a third of the keys and no replica, which keeps nothing that a test needs later. */
export interface RedisCluster {
  /** The nodes. */
  urls: string[]
  /** Sends a signal to one node, or to all. */
  signal(signal: NodeJS.Signals, node?: number): Promise<void>
  close(): Promise<void>
}

/** Starts a cluster; resolves once all nodes serve all keys. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const program = await redisProgram()
  const folder = await mkdtemp(join(tmpdir(), 'seam-redis-cluster-'))
  const ports = await freePorts(2 * NODES)
  const nodes = Array.from({ length: NODES }, (_, index) => ({ port: ports[index]!, bus: ports[NODES + index]! }))
  const children = nodes.map(({ port, bus }) => {
    const files = ['--dir', folder, '--cluster-config-file', `${port}.conf`, '--save', '', '--appendonly', 'no']
    const cluster = ['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '1000']
    return spawn(program, ['--bind', '127.0.0.1', '--port', `${port}`, ...files, ...cluster], { stdio: 'ignore' })
  })
  const signal = async (child: ChildProcess, name: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = name === 'SIGKILL' ? once(child, 'exit') : undefined
    child.kill(name)
    await exit
  }
  const clients = nodes.map(({ port }) => {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20 })
    client.on('error', () => {})
    return client
  })
  const close = async () => {
    for (const client of clients) client.disconnect()
    await Promise.all(children.map((child) => signal(child, 'SIGKILL')))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const slot = (index: number) => Math.floor((index * SLOTS) / NODES)
    await Promise.all(
      clients.map(async (client, index) => {
        await client.cluster('SET-CONFIG-EPOCH', index + 1)
        await client.call('CLUSTER', 'ADDSLOTSRANGE', slot(index), slot(index + 1) - 1)
      }),
    )
    const [first, ...others] = nodes
    for (const { port, bus } of others) await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', port, bus)
    const isReady = async (client: Redis) => {
      const info = (await client.cluster('INFO')) as string
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`)
    }
    await until(`the cluster of ${first!.port}`, async () => (await Promise.all(clients.map(isReady))).every(Boolean))
  } catch (error) {
    await close()
    throw error
  }
  return {
    urls: nodes.map(({ port }) => `redis://127.0.0.1:${port}`),
    signal: async (name, node) => {
      await Promise.all(children.filter((_, index) => index === (node ?? index)).map((child) => signal(child, name)))
    },
    close,
  }
}
