import pino from 'pino'
import { readConfig } from './config.ts'
import { catalogue } from './modules/catalogue.ts'
import { BootError } from './platform/host/boot-error.ts'
import { migrateState } from './platform/host/state.ts'

// `npm run migrate`: the schemas of all modules, wherever they run. Processes bring those that they host up to date when
// they start; this is for those who want it done before, by a login that may do more.
try {
  const config = readConfig(process.env, catalogue)
  const migrated = await migrateState({
    ...config,
    hosted: catalogue.map(({ contract }) => contract.name),
    migrations: new URL('../migrations', import.meta.url).pathname,
    log: pino({ level: config.logLevel }, pino.destination(2)),
  })
  for (const { schema, applied } of migrated)
    console.log(`${schema}: ${applied.length > 0 ? `applied ${applied.join(', ')}` : 'up to date'}`)
} catch (error) {
  if (error instanceof BootError) for (const fault of error.faults) console.error(fault)
  else console.error(error)
  process.exitCode = 1
}
