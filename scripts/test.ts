// The whole of `npm test`, or some files of it: `npm test -- test/boundaries/kit-size.test.ts`.

import { globSync } from 'node:fs'
import { chmod, mkdtemp, rm, statfs } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { acquireEmbeddedPostgres } from '../src/platform/host/data/embedded-postgres.ts'
import { freshDatabase } from '../test/support/database.ts'
import { provideDnsmasq } from './dnsmasq.ts'
import { provideNginx } from './nginx.ts'
import { providePgbouncer } from './pgbouncer.ts'
import { provideRabbitmq } from './rabbitmq.ts'
import { provideRedis } from './redis.ts'
import { endAll, run } from './run.ts'
import { runTestFiles, seconds, type TestFile } from './test-files.ts'

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules/.bin')
process.chdir(root)
process.env.PATH = `${bin}${delimiter}${process.env.PATH}`

const print = (line: string) => console.log(line)
const services: Service[] = []

interface Service {
  close(): Promise<void>
}

let closing: Promise<void> | undefined

/** Ends what runs and stops what was started, at most once and within 30 seconds. */
function close(): Promise<void> {
  const all = async () => {
    await endAll()
    // The last first: a database goes before its server.
    for (const service of services.toReversed()) await service.close().catch((error) => console.error(error))
  }
  return (closing ??= Promise.race([all(), sleep(30_000, undefined, { ref: false })]))
}

/** Has a service stopped at the end, or at once if the end has come while it started. */
async function hold(service: Service): Promise<void> {
  services.push(service)
  if (closing) await service.close()
}

/** Stops the run. What it says is all that is printed of it. */
class Failure extends Error {}

async function stage<T>(name: string, work: () => Promise<T>, isGood = (_result: T) => true): Promise<T> {
  const start = performance.now()
  const done = (word: string) => print(`${word} ${seconds(performance.now() - start)}  ${name}`)
  try {
    const result = await work()
    done(isGood(result) ? 'ok    ' : 'FAILED')
    return result
  } catch (error) {
    done('FAILED')
    throw error
  }
}

const check = (program: string, ...args: string[]) =>
  stage([program, ...args].join(' '), async () => {
    const { code, output } = await run(program, args, { limit: 300 })
    if (code === 0) return
    print(output.trim())
    throw new Failure(`${program} has found faults.`)
  })

/** Waits for all even if one fails, so that each failure is printed and nothing goes on behind the next line. */
async function together(work: Promise<unknown>[]): Promise<void> {
  const failures = (await Promise.allSettled(work))
    .filter((result) => result.status === 'rejected')
    .map((result) => result.reason)
  const unforeseen = failures.find((reason) => !(reason instanceof Failure))
  if (unforeseen) throw unforeseen
  if (failures.length > 0) throw new Failure(failures.map((reason) => reason.message).join('\n\n'))
}

async function startServices(): Promise<Record<string, string>> {
  // What one test file compiles, the next ones need not.
  const env: Record<string, string> = { NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compile') }
  const line = (text: string) => print(`  ${text}`)
  const redis = async () => {
    const server = await provideRedis(line).catch((error) => Promise.reject(new Failure(error.message)))
    await hold(server)
    env.REDIS_URL = server.url
  }
  // Held for the whole run: each test file would start and stop it otherwise.
  const database = async () => {
    const memory = await memoryFolder()
    if (memory) env.TMPDIR = memory
    const folder = memory ? join(memory, 'postgres') : '.data/test-postgres'
    const server = await acquireEmbeddedPostgres({ folder, log: line })
    await hold({ close: () => server.release() })
    await forgetAtPowerFailure(server.url)
    process.env.TEST_DATABASE_URL = server.url
  }
  // The programs only: each test file that needs one starts it for itself.
  const programs = async () => {
    for (const provide of [provideDnsmasq, provideRabbitmq, providePgbouncer, provideNginx])
      await provide(line).catch((error) => Promise.reject(new Failure(error.message)))
  }
  await together(process.env.TEST_DATABASE_URL ? [redis(), programs()] : [redis(), programs(), database()])
  env.TEST_DATABASE_TEMPLATE = await makeTemplate()
  return env
}

/** Makes a database with the tables of all modules, and returns its name: copies of it are ready at once. */
async function makeTemplate(): Promise<string> {
  const template = await freshDatabase()
  await hold(template)
  const env = { DATABASE_URL: template.url, REDIS_URL: '', NODE_ENV: 'test' }
  const { code, output } = await run('node', ['src/migrate.ts'], { limit: 60, env })
  if (code !== 0) throw new Failure(output.trim())
  return new URL(template.url).pathname.slice(1)
}

/**
 * A folder in memory that is removed at the end, where there is room for it: each test makes and removes hundreds of files,
 * with which a file system on a disk takes its time.
 */
async function memoryFolder(): Promise<string | undefined> {
  const room = await statfs('/dev/shm').then(
    ({ bavail, bsize }) => Math.min(bavail * bsize, process.availableMemory()),
    () => 0,
  )
  if (room < 4 * 1024 ** 3) return undefined
  const folder = await mkdtemp('/dev/shm/seam-tests-')
  await hold({ close: () => rm(folder, { recursive: true, force: true }) })
  // Root runs PostgreSQL as another user.
  await chmod(folder, 0o755)
  return folder
}

/** Nothing that tests write is needed after the machine has lost its power; what any process was killed with is kept. */
async function forgetAtPowerFailure(url: string): Promise<void> {
  const sql = postgres(url, { max: 1 })
  try {
    for (const setting of ['fsync', 'full_page_writes']) await sql.unsafe(`alter system set ${setting} = off`)
    await sql`select pg_reload_conf()`
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** What holds at a pace that is measured. Nothing else may run beside it. */
const MEASURED = 'test/{resilience/**/*,platform/host/rolling-restart}.test.ts'
/** The longest files. They begin, so that none of them runs alone at the end. */
const LONG = 'test/{topology,permissions,chaos,platform/host/events}/**/*.test.ts'
/**
 * Processes that run the others. With more than there are cores, what waits for something waits in vain on a slow machine; with
 * more than three, their memory and their ports would have no bound.
 */
const WORKERS = Math.min(availableParallelism(), 3)

/** Runs the named files, or all. */
async function test(env: Record<string, string>): Promise<TestFile[]> {
  const named = process.argv.slice(2)
  if (named.length > 0) return runTestFiles(named, { workers: WORKERS, env, print })
  const measured = globSync(MEASURED).sort()
  const sideBySide = new Set([...globSync(LONG).sort(), ...globSync('test/**/*.test.ts').sort()]).difference(
    new Set(measured),
  )
  return [
    ...(await runTestFiles([...sideBySide], { workers: WORKERS, env, print })),
    ...(await runTestFiles(measured, { workers: 1, env, print })),
  ]
}

function summarize(files: readonly TestFile[]): void {
  print('Slowest:')
  for (const { name, time } of files.toSorted((a, b) => b.time - a.time).slice(0, 5))
    print(`  ${seconds(time)}  ${name}`)
  const sum = (of: 'passed' | 'failed') => files.reduce((total, file) => total + file[of], 0)
  print(`${sum('passed')} passed, ${sum('failed')} failed`)
  process.exitCode = files.length > 0 && sum('failed') === 0 ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Once: who asks a second time does not want to wait.
  process.once(signal, () => {
    print(`Ended by ${signal}.`)
    void close().then(() => process.exit(1))
  })
}

async function tests(): Promise<void> {
  const env = await stage('Redis, dnsmasq, RabbitMQ, PgBouncer, nginx and PostgreSQL', startServices)
  const files = await stage(
    'tests',
    () => test(env),
    (files) => files.every(({ failed }) => failed === 0),
  )
  summarize(files)
}

try {
  // The checks keep one processor busy for half a minute, and say at once what they find.
  await together([check('tsc'), check('biome', 'check', '--error-on-warnings'), check('depcruise', 'src'), tests()])
} catch (error) {
  console.error(error instanceof Failure ? error.message : error)
  process.exitCode = 1
} finally {
  await close()
}
