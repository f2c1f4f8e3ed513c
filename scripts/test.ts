// The whole of `npm test`. Arguments go to tap: `npm test -- test/boundaries/kit-size.test.ts`.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm, statfs } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { acquireEmbeddedPostgres } from '../src/platform/host/data/embedded-postgres.ts'
import { freshDatabase } from '../test/support/database.ts'
import { provideDnsmasq } from './dnsmasq.ts'
import { provideRedis } from './redis.ts'
import { seconds, TapReport } from './tap-report.ts'

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules/.bin')
process.chdir(root)
process.env.PATH = `${bin}${delimiter}${process.env.PATH}`

const print = (line: string) => console.log(line)
const children = new Set<ChildProcess>()
const services: Service[] = []

interface Service {
  close(): Promise<void>
}

interface Options {
  /** Minutes after which the program is ended. */
  readonly limit: number
  readonly env?: Record<string, string>
  /** Gets each line of standard output, and standard error is passed on; without it both are collected. */
  readonly onLine?: (line: string) => void
}

/** Runs a program of node_modules/.bin in a process group of its own and resolves with its exit code and output. */
async function run(
  program: string,
  args: string[],
  { limit, env, onLine }: Options,
): Promise<{ code: number; output: string }> {
  const child = spawn(join(bin, program), args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', onLine ? 'inherit' : 'pipe'],
    detached: true,
  })
  children.add(child)
  let output = ''
  const keep = (chunk: Buffer) => (output += chunk)
  child.stderr?.on('data', keep)
  if (onLine) createInterface({ input: child.stdout! }).on('line', onLine)
  else child.stdout!.on('data', keep)

  const endAfter = (minutes: number, why: string) =>
    setTimeout(() => {
      output += `\n${program} was ended: ${why} for ${minutes} minutes.`
      void end(child)
    }, minutes * 60_000)
  const total = endAfter(limit, 'it ran')
  // tap waits without end for a test file whose children hold its output open.
  const silence = endAfter(Math.min(5, limit), 'it said nothing')
  child.stdout!.on('data', () => silence.refresh())
  const closed = new Promise((resolve) => child.once('close', resolve))
  try {
    const [code] = await once(child, 'exit')
    // What a test left running would hold the output open for ever.
    await Promise.race([closed, sleep(1000).then(() => end(child))])
    return { code: code ?? 1, output }
  } finally {
    clearTimeout(total)
    clearTimeout(silence)
    child.stdout?.destroy()
    children.delete(child)
  }
}

/** Ends a child and all that it started: tap leaves test files behind that ignore SIGTERM. */
async function end(child: ChildProcess): Promise<void> {
  const signal = (name: NodeJS.Signals | 0): boolean => {
    try {
      return process.kill(-child.pid!, name)
    } catch {
      return false
    }
  }
  signal('SIGTERM')
  for (let waited = 0; waited < 5000 && signal(0); waited += 50) await sleep(50)
  signal('SIGKILL')
}

let closing: Promise<void> | undefined

/** Ends what runs and stops what was started, at most once and within 30 seconds. */
function close(): Promise<void> {
  const all = async () => {
    await Promise.all([...children].map(end))
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
    const { code, output } = await run(program, args, { limit: 5 })
    if (code !== 0) throw new Failure(output.trim())
  })

/** tap compiles its test class for the plugins in .taprc. Where it is made for others, the first run of tap fails. */
function tapIsBuilt(): boolean {
  const built = 'node_modules/@tapjs/test/test-built/dist/esm/index.js'
  return existsSync('.tap/plugins') && existsSync(built) && !readFileSync(built, 'utf8').includes('@tapjs/typescript')
}

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
  // The program only: each test file that needs one starts it with records of its own.
  const dnsmasq = async () => {
    await provideDnsmasq(line).catch((error) => Promise.reject(new Failure(error.message)))
  }
  await together(process.env.TEST_DATABASE_URL ? [redis(), dnsmasq()] : [redis(), dnsmasq(), database()])
  env.TEST_DATABASE_TEMPLATE = await makeTemplate()
  return env
}

/** Makes a database with the tables of all modules, and returns its name: copies of it are ready at once. */
async function makeTemplate(): Promise<string> {
  const template = await freshDatabase()
  await hold(template)
  const env = { DATABASE_URL: template.url, REDIS_URL: '', NODE_ENV: 'test' }
  const { code, output } = await run('node', ['src/migrate.ts'], { limit: 1, env })
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

interface Results {
  readonly report: TapReport
  readonly code: number
}

/** What holds at a pace that is measured. Nothing else may run beside it. */
const MEASURED = 'test/resilience/**/*.test.ts'
/** Test files that run side by side otherwise: more than there are cores, since half of the time each of them waits. */
const JOBS = 3

/** Runs the named files, or all. */
async function test(env: Record<string, string>): Promise<Results> {
  const report = new TapReport(print)
  const named = process.argv.slice(2)
  const all = globSync('test/**/*.test.ts')
  const measured = globSync(MEASURED)
  const others = all.filter((file) => !measured.includes(file)).sort()
  const runs =
    named.length > 0
      ? [named]
      : [
          [...others, `--jobs=${JOBS}`],
          [...measured.sort(), '--jobs=1'],
        ]
  let worst = 0
  for (const args of runs) {
    const options = { limit: 45, env, onLine: (line: string) => report.line(line) }
    const { code, output } = await run('tap', ['run', ...args, '--reporter=tap'], options)
    if (output) print(output)
    worst = Math.max(worst, code)
  }
  return { report, code: worst }
}

function summarize({ report, code }: Results): void {
  print('Slowest:')
  const slowest = report.files.toSorted((a, b) => b.time - a.time).slice(0, 5)
  for (const { name, time } of slowest) print(`  ${seconds(time)}  ${name}`)

  const ran = report.passed + report.failed > 0
  if (!ran) print(`No test ran; tap ended with ${code}.`)
  const failed = ran && code !== 0 ? Math.max(report.failed, 1) : report.failed
  print(`${report.passed} passed, ${failed} failed`)
  process.exitCode = ran && failed === 0 ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Once: who asks a second time does not want to wait.
  process.once(signal, () => {
    print(`Ended by ${signal}.`)
    void close().then(() => process.exit(1))
  })
}

try {
  if (!tapIsBuilt()) await check('tap', 'build')
  await together([check('tsc'), check('biome', 'check', '--error-on-warnings'), check('depcruise', 'src')])
  const env = await stage('Redis, dnsmasq and PostgreSQL', startServices)
  const results = await stage(
    'tap',
    () => test(env),
    (results) => results.code === 0,
  )
  await close()
  summarize(results)
} catch (error) {
  console.error(error instanceof Failure ? error.message : error)
  process.exitCode = 1
} finally {
  await close()
}
