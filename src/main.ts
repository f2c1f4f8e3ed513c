import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { catalogue } from './modules/catalogue.ts'
import { BootError } from './platform/host/boot-error.ts'
import { announce } from './platform/host/ops/announce.ts'
import { createLog } from './platform/host/ops/log.ts'

try {
  const config = readConfig(process.env, catalogue)
  const log = createLog(config.logLevel)
  const starting = buildApp(config, log)
  closeWithGrace({ delay: 20_000 }, async ({ err }) => {
    if (err) log.fatal({ err }, 'the process ends because of an error that nobody caught')
    await (await starting).close()
  })
  const app = await starting
  const urls = await app.listen()
  console.log(announce(config.placement, urls, app.runsOn))
} catch (error) {
  console.error(error instanceof BootError ? error.message : error)
  process.exit(1)
}
