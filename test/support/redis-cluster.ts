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

/** A cluster of three real nodes, each with a third of the keys, which keeps nothing that a test needs later. */
export interface RedisCluster {
  /** The nodes. */
  urls: string[]
  /** Sends a signal to one node, or to all. */
  signal(signal: NodeJS.Signals, node?: number): Promise<void>
  /** Resolves when the replicas have what the nodes have now. */
  caughtUp(): Promise<void>
  /** Which node has a key, at the start. */
  nodeOf(key: string): Promise<number>
  close(): Promise<void>
}

/**
 * Starts a cluster; resolves once all nodes serve all keys.
 *
 * @param options.replicas whether each node has another that follows it and takes its place (default: no)
 */
export async function startRedisCluster({ replicas = false } = {}): Promise<RedisCluster> {
  const count = replicas ? 2 * NODES : NODES
  const program = await redisProgram()
  const folder = await mkdtemp(join(tmpdir(), 'seam-redis-cluster-'))
  const ports = await freePorts(2 * count)
  const nodes = Array.from({ length: count }, (_, index) => ({ port: ports[index]!, bus: ports[count + index]! }))
  const children = nodes.map(({ port, bus }) => {
    const files = ['--dir', folder, '--cluster-config-file', `${port}.conf`, '--save', '', '--appendonly', 'no']
    const follow = ['--repl-diskless-sync-delay', '0']
    const cluster = ['--cluster-enabled', 'yes', '--cluster-port', `${bus}`, '--cluster-node-timeout', '1000']
    return spawn(program, ['--bind', '127.0.0.1', '--port', `${port}`, ...files, ...cluster, ...follow], {
      stdio: 'ignore',
    })
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
      clients.slice(0, NODES).map(async (client, index) => {
        await client.cluster('SET-CONFIG-EPOCH', index + 1)
        await client.call('CLUSTER', 'ADDSLOTSRANGE', slot(index), slot(index + 1) - 1)
      }),
    )
    const [first, ...others] = nodes
    for (const { port, bus } of others) await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', port, bus)
    const isReady = async (client: Redis) => {
      const info = (await client.cluster('INFO')) as string
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`)
    }
    await until(`the cluster of ${first!.port}`, async () => (await Promise.all(clients.map(isReady))).every(Boolean))
    await Promise.all(
      clients.slice(NODES).map(async (client, index) => {
        await client.cluster('REPLICATE', (await clients[index]!.cluster('MYID')) as string)
        await until('the replica follows', async () => /master_link_status:up/.test(await client.info('replication')))
      }),
    )
  } catch (error) {
    await close()
    throw error
  }
  return {
    urls: nodes.slice(0, NODES).map(({ port }) => `redis://127.0.0.1:${port}`),
    async caughtUp() {
      const offset = async (client: Redis, name: RegExp) => Number(name.exec(await client.info('replication'))?.[1])
      await Promise.all(
        clients.slice(0, NODES).map(async (client) => {
          const written = await offset(client, /master_repl_offset:(\d+)/)
          await until('the replica has it', async () => (await offset(client, /^slave0:.*offset=(\d+)/m)) >= written)
        }),
      )
    },
    nodeOf: async (key) => Math.floor(((await clients[0]!.cluster('KEYSLOT', key)) * NODES) / SLOTS),
    signal: async (name, node) => {
      await Promise.all(children.filter((_, index) => index === (node ?? index)).map((child) => signal(child, name)))
    },
    close,
  }
}
