import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChannelModel, connect } from 'amqplib'
import { provideRabbitmq } from '../../scripts/rabbitmq.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

/** A real RabbitMQ of the test's own, which it may kill and start again: it keeps what is durable. */
export interface Rabbitmq {
  /** With a password in it. */
  url: string
  /** Connects as somebody else's program would. Close it. */
  connect(): Promise<ChannelModel>
  /** Starts it and waits until it answers. */
  start(): Promise<void>
  /** SIGKILL, SIGSTOP or SIGCONT. */
  signal(signal: NodeJS.Signals): Promise<void>
  close(): Promise<void>
}

/** Prepares folders, ports and a port mapper of its own; `start()` starts it, which takes some seconds. */
export async function rabbitmq(): Promise<Rabbitmq> {
  const program = await provideRabbitmq()
  const folder = await mkdtemp(join(tmpdir(), 'seam-rabbitmq-'))
  const [port, distribution, mapper] = await freePorts(3)
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  await writeFile(join(folder, 'rabbitmq.conf'), 'loopback_users = none\nvm_memory_high_watermark.absolute = 1GB\n')
  await writeFile(join(folder, 'enabled_plugins'), '[].\n')
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    ERL_EPMD_PORT: `${mapper}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `seam-${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: `${port}`,
    RABBITMQ_DIST_PORT: `${distribution}`,
    RABBITMQ_MNESIA_BASE: folder,
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    // One thread that does not spin: it shares the machine with the tests.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none',
  }
  // Else the server would start one that outlives it.
  const epmd = spawn('epmd', ['-port', `${mapper}`, '-address', '127.0.0.1'], { env, stdio: 'ignore' })
  let server: ChildProcess | undefined
  const signal = async (signal: NodeJS.Signals) => {
    if (!server?.pid || server.exitCode !== null || server.signalCode !== null) return
    const exit = signal === 'SIGKILL' ? once(server, 'exit') : undefined
    // The script and what it has started.
    process.kill(-server.pid, signal)
    await exit
  }
  return {
    url,
    connect: () => connect(url),
    async start() {
      let output = ''
      server = spawn(program, [], { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
      for (const stream of [server.stdout!, server.stderr!])
        stream.on('data', (chunk) => (output = `${output}${chunk}`.slice(-2_000)))
      const answers = () =>
        connect(url).then(
          (connection) => connection.close().then(() => true),
          () => {
            if (server?.exitCode !== null) throw new Error(`RabbitMQ has ended: ${output}`)
            return new Promise<false>((resolve) => setTimeout(resolve, 100, false))
          },
        )
      await until('RabbitMQ', answers, 60_000)
    },
    signal,
    async close() {
      await signal('SIGCONT')
      await signal('SIGKILL')
      epmd.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
