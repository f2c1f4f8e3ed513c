import pino from 'pino'
import { buildApp } from './app.ts'
import { readConfig } from './config.ts'
import { catalogue } from './modules/catalogue.ts'
import { BootError } from './platform/host/boot-error.ts'

// `npm run seam -- <task> <arguments>`: what operators do by hand. It reads the same environment as the processes that serve,
// and runs the tasks of the modules that `MODULES` places here, without listening. `proto` is of the platform, and needs
// neither environment nor database.
const [name, ...args] = process.argv.slice(2)
try {
  if (name === 'proto') await printProto(args[0])
  else await runTask()
} catch (error) {
  console.error(error instanceof BootError ? error.message : `${name ?? 'seam'}: ${(error as Error).message}`)
  process.exitCode = 1
}

async function runTask(): Promise<void> {
  const config = readConfig(process.env, catalogue)
  const app = await buildApp(config, pino({ level: 'warn' }, pino.destination(2)))
  try {
    const task = app.tasks.find((task) => task.name === name)
    if (task) console.log(await task.run(args))
    else {
      const proto = { name: 'proto', usage: '<module>', summary: 'Prints the contract of a module as a .proto file.' }
      const known = [...app.tasks, proto].map(
        ({ name, usage, summary }) => `  npm run seam -- ${`${name} ${usage}`.padEnd(32)} ${summary}`,
      )
      console.error([name ? `There is no task "${name}" here (MODULES).` : 'Which task?', ...known].join('\n'))
      process.exitCode = 1
    }
  } finally {
    await app.close()
  }
}

async function printProto(module: string | undefined): Promise<void> {
  const contracts = catalogue.map(({ contract }) => contract)
  const contract = contracts.find(({ name }) => name === module)
  const known = contracts.map(({ name }) => name).join(', ')
  if (!contract) throw new Error(`${module ? `There is no module "${module}".` : 'Which module?'} Known: ${known}.`)
  const { protoOf } = await import('./platform/host/rpc/grpc/proto.ts')
  process.stdout.write(protoOf(contract))
}
