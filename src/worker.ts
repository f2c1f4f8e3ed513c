import { enableCompileCache } from 'node:module'

// As main.ts does, and says why.
enableCompileCache(new URL('../node_modules/.cache/compile', import.meta.url).pathname)

const { default: closeWithGrace } = await import('close-with-grace')
const { buildApp } = await import('./app.ts')
const { readConfig } = await import('./config.ts')
const { catalogue } = await import('./modules/catalogue.ts')
const { BootError } = await import('./platform/host/boot-error.ts')
const { createLog } = await import('./platform/host/ops/log.ts')
const { giveBackMemoryAtRest } = await import('./platform/host/ops/memory.ts')
const { tellPrimary, whenToEnd, workerNumber } = await import('./platform/host/workers/as-worker.ts')

// One of several processes that primary.ts starts. It is told to end by that, and listens for no operators.
try {
  const config = readConfig(process.env, catalogue)
  const log = createLog(config.logLevel).child({ worker: workerNumber() })
  const starting = buildApp(config, log)
  const { close } = closeWithGrace({ delay: 20_000, skip: ['SIGTERM', 'SIGINT', 'SIGHUP'] }, async ({ err }) => {
    if (err) log.fatal({ err }, 'the process ends because of an error that nobody caught')
    await (await starting).close()
  })
  whenToEnd(close)
  const app = await starting
  const urls = await app.listen()
  tellPrimary({ urls, runsOn: app.runsOn }, app.ops)
  giveBackMemoryAtRest()
} catch (error) {
  console.error(error instanceof BootError ? error.message : error)
  process.exit(1)
}
