import fc, { type Arbitrary } from 'fast-check'
import pLimit from 'p-limit'
import type { Test } from 'tap'
import { watchDrift } from '../api/drift.ts'
import { Callers } from './callers.ts'
import { grown, type Memory, settled } from './memory.ts'
import { anyEdits } from './raw.ts'
import { type Operation, operationsOf, requestsFor } from './requests.ts'
import { Run, type Tally } from './run.ts'
import { AT_ONCE } from './sending.ts'
import { startSystem } from './system.ts'
import { refusedAgain } from './unchanged.ts'

/** Where fast-check has found a failure: a failure says it. */
export interface Place {
  operation: string
  seed: number
  path: string
}

export interface FuzzOptions {
  /** How many requests are sent, about. */
  requests: number
  /** The same seed makes the same requests. */
  seed: number
  /** Modules that run in processes of their own, behind a gateway. */
  outside?: readonly string[]
  /** Nothing but this. */
  only?: Place | undefined
  /** Says what happens, line by line. */
  report: (line: string) => void
}

/** All operations are asked in turn, so often over. */
const ROUNDS = 6
/** Memory is looked at after so many rounds, when all that is kept for speed should be there, and at the end. */
const EARLY = 2
/** A run of fewer requests says nothing about memory. */
const LONG = 10_000
/** Requests that are sent at most to find a smaller one that fails, too. */
const SHRINKING = 150
/** Changes to a request that was valid. */
const MOST_CHANGES = 3

/** What is asked of one operation: requests of one kind, one after the other. */
interface Kind {
  name: string
  property: (count: (send: () => Promise<void>) => Promise<void>) => fc.IAsyncProperty<any>
}

/**
 * Sends requests that no well-behaved client would send to every operation of `/openapi.json`, and sees that each gets an
 * answer that it should get, that the processes hold no more memory for it, and that what was refused has changed nothing.
 */
export async function fuzz(t: Test, options: FuzzOptions): Promise<void> {
  const { report } = options
  const { api, processes, database } = await startSystem(t, options.outside ?? [])
  const document = (await api.get('/openapi.json')).body
  const operations = operationsOf(document)
  const run = new Run(api, await Callers.make(api), await watchDrift())
  t.teardown(() => run.sender.close())

  const valid = operations.map((operation) => requestsFor(operation, document, 0))
  const kinds = operations.map((operation) =>
    kindOf(operation.name, requestsFor(operation, document, MOST_CHANGES), (plan) => run.ask(operation, plan)),
  )
  const broken = fc.nat(operations.length - 1).chain((n) => fc.tuple(fc.constant(n), valid[n]!, anyEdits))
  kinds.push(kindOf('no HTTP', broken, ([n, plan, edits]) => run.askRaw(operations[n]!, plan, edits)))

  const round = async (these: readonly Kind[], seed: number, runs: number, path?: string) => {
    const limit = pLimit(AT_ONCE)
    const failures = await Promise.all(these.map((kind) => limit(() => failureOf(kind, seed, runs, path))))
    failures.forEach((failure, index) => {
      if (!failure) return
      for (const line of failure.split('\n')) report(line)
      t.fail(these[index]!.name)
    })
  }
  const memory = () => Promise.all(processes.map(({ process, opsUrl }) => settled(process, opsUrl)))

  // What is valid, by a member and an admin: after that there is something of everything, and it is theirs.
  for (const [index, operation] of operations.entries()) {
    const plans = fc.sample(valid[index]!, { seed: options.seed, numRuns: 4 })
    for (const [turn, plan] of plans.entries())
      await run.ask(operation, { ...plan, caller: { role: turn % 2 ? 'admin' : 'member', n: 0, cookie: false } })
  }

  const { only } = options
  if (only)
    return round(
      kinds.filter(({ name }) => name === only.operation),
      only.seed,
      1,
      only.path,
    )

  const started = performance.now()
  const isLong = options.requests >= LONG
  const runs = Math.ceil(options.requests / ROUNDS / kinds.length)
  let early: Memory[] = []
  for (let n = 1; n <= ROUNDS; n++) {
    await round(kinds, options.seed + n, runs)
    if (isLong && n === EARLY) early = await memory()
  }
  const seconds = (performance.now() - started) / 1000
  report(`${run.sent} requests in ${seconds.toFixed(0)} s; ${run.refused.length} are kept to be asked again.`)
  for (const [name, tally] of [...run.tallies].sort()) report(`  ${name.padEnd(42)} ${words(tally)}`)

  if (isLong) {
    const late = await memory()
    for (const index of processes.keys()) {
      report(`Memory of process ${index + 1}, MiB: ${words(early[index]!)}; at the end ${words(late[index]!)}`)
      t.strictSame(grown(early[index]!, late[index]!), [], 'memory is flat')
    }
  }
  t.strictSame(missing(operations, run.tallies), [], 'every operation has done its work, and has refused to')

  const chunk = isLong ? 500 : 100
  const { checked, faults } = await refusedAgain(run.refused, { sender: run.sender, database, chunk })
  report(`${checked} refused requests were refused again and changed nothing.`)
  t.strictSame(faults, [], 'what is refused changes nothing')
  t.ok(checked > run.refused.length / 2, 'most were refused again')

  const health = await api.get('/api/health')
  t.equal(health.body.status, 'healthy', 'after all that it still works')
  for (const { process } of processes) {
    t.strictSame(complaintsIn(process.output), [], 'no process has complained')
    const { code, signal } = await process.end('SIGTERM')
    t.strictSame({ code, signal }, { code: 0, signal: null }, 'it ends by itself and well')
  }
}

const kindOf = <T>(name: string, requests: Arbitrary<T>, ask: (request: T) => Promise<void>): Kind => ({
  name,
  property: (count) => fc.asyncProperty(requests, (request) => count(() => ask(request))),
})

/** Has fast-check send requests of one kind; if one fails it looks for a smaller one that does, and this is told. */
async function failureOf({ name, property }: Kind, seed: number, runs: number, path?: string) {
  let left = Number.POSITIVE_INFINITY
  const counted = property(async (send) => {
    if (left-- <= 0) return
    await send().catch((error) => {
      left = Math.min(left, SHRINKING)
      throw error
    })
  })
  const found = await fc.check(counted, { seed, numRuns: runs, ...(path && { path }) })
  if (!found.failed) return undefined
  const place: Place = { operation: name, seed, path: found.counterexamplePath ?? '' }
  return [
    `${name}: ${(found.errorInstance as Error | undefined)?.message}`,
    `Made of: ${fc.stringify(found.counterexample?.[0]).slice(0, 2_000)}`,
    `Again: npm run fuzz -- --operation '${place.operation}' --seed ${place.seed} --path ${place.path}`,
  ].join('\n\n')
}

/** Operations that no request has got through to, or none has been refused by, though they may refuse. */
function missing(operations: readonly Operation[], tallies: ReadonlyMap<string, Tally>): string[] {
  return operations.flatMap(({ name, statuses }) => {
    const seen = [...(tallies.get(name)?.statuses.keys() ?? [])]
    const mayRefuse = statuses.some((status) => status >= 400 && status < 500 && status !== 429)
    return [
      ...(seen.some((status) => status >= 200 && status < 400) ? [] : [`${name} has never done its work`]),
      ...(!mayRefuse || seen.some((status) => status >= 400) ? [] : [`${name} has never refused anything`]),
    ]
  })
}

function words(told: Tally | Memory): string {
  if ('heap' in told) return `heap ${told.heap.toFixed(1)}, resident ${told.resident.toFixed(0)}`
  const statuses = [...told.statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${status || 'cut'}: ${count}`)
  return `${String(told.sent).padStart(5)}  ${statuses.join('  ')}`
}

/** What processes have logged, but for messages that nobody would take; and what nobody has caught. */
const complaintsIn = (output: string): string[] =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{"level":') || /unhandled|uncaught|ERR_/i.test(line))
    .filter((line) => !line.includes('"msg":"a message could not be sent'))
