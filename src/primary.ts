import { join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'
import type { Config } from './config.ts'
import { chooseDiscovery } from './platform/host/discovery/choose.ts'
import { announce } from './platform/host/ops/announce.ts'
import { giveBackMemoryAtRest } from './platform/host/ops/memory.ts'
import { serveOpsOfWorkers } from './platform/host/workers/ops-of-workers.ts'
import { restartMetrics } from './platform/host/workers/restart-metrics.ts'
import { Supervisor, WorkerFailed } from './platform/host/workers/supervisor.ts'

/** Longer than the workers may take. */
const DELAY = 25_000

/**
 * Serves with several processes that share the API's port (`WORKERS`). This one starts them, answers operators for all of them
 * and registers the machine where there is a Consul; it loads no module and opens no database.
 *
 * @throws {BootError} when the operators' port cannot be listened on
 */
export async function serveWithWorkers(config: Config, log: FastifyBaseLogger): Promise<void> {
  const ops = await serveOpsOfWorkers(
    { host: config.host, port: config.opsPort },
    () => supervisor.serving,
    restartMetrics(() => supervisor.restarts),
  )
  const supervisor = new Supervisor({
    count: config.workers,
    program: join(import.meta.dirname, 'worker.ts'),
    env: { OPS_PORT: String(ops.port) },
    log,
    onHopeless(reason) {
      hopeless = reason
      ending.close()
    },
  })
  const discovery = await chooseDiscovery(config.discovery, {
    urls: config.moduleUrls,
    wanted: [],
    hosted: config.placement.hosted.map(({ contract }) => contract.name),
    log,
  })
  let isEnding = false
  let hopeless: Error | undefined
  const ending = closeWithGrace({ delay: DELAY, onSecondSignal: () => supervisor.kill('SIGKILL') }, async ({ err }) => {
    isEnding = true
    // Ctrl-C reaches the workers as well, and they may end while Consul is told.
    supervisor.hold()
    if (err) log.fatal({ err }, 'the process ends because of an error that nobody caught')
    await discovery.deregister()
    await supervisor.stop()
    await discovery.close()
    ops.close()
    if (hopeless) throw hopeless
  })
  if (config.edge && config.redisUrls.length === 0)
    log.warn(
      `Each of ${config.workers} workers counts requests for its own limits. With REDIS_URL they count together.`,
    )
  try {
    const { urls, runsOn } = await supervisor.start()
    if (isEnding) return
    await discovery.register({ port: Number(new URL(urls.api).port) || 80, opsPort: ops.port, workers: config.workers })
    console.log(announce(config, { ...urls, ops: ops.url }, runsOn))
    giveBackMemoryAtRest()
  } catch (error) {
    // Whoever ends it while it starts need not be told that it has not started.
    if (isEnding) return
    await supervisor.stop().catch(() => {})
    // The worker has said why.
    if (error instanceof WorkerFailed) process.exit(error.code)
    throw error
  }
}
