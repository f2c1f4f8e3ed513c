import pino from 'pino'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { catalogue } from './modules/catalogue.ts'
import { BootError } from './platform/host/boot-error.ts'

// `npm run seam -- <task> <arguments>`: what operators do by hand. It reads the same environment as the processes that serve,
// and runs the tasks of the modules that `MODULES` places here, without listening.
const [name, ...args] = process.argv.slice(2)
try {
  const config = readConfig(process.env, catalogue)
  const app = await buildApp(config, pino({ level: 'warn' }, pino.destination(2)))
  try {
    const task = app.tasks.find((task) => task.name === name)
    if (task) console.log(await task.run(args))
    else {
      const known = app.tasks.map(
        ({ name, usage, summary }) => `  npm run seam -- ${`${name} ${usage}`.padEnd(32)} ${summary}`,
      )
      console.error([name ? `There is no task "${name}" here (MODULES).` : 'Which task?', ...known].join('\n'))
      process.exitCode = 1
    }
  } finally {
    await app.close()
  }
} catch (error) {
  console.error(error instanceof BootError ? error.message : `${name ?? 'seam'}: ${(error as Error).message}`)
  process.exitCode = 1
}
