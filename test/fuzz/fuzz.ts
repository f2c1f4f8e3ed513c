import fc from 'fast-check'
import pLimit from 'p-limit'
import type { Test } from 'tap'
import { watchDrift } from '../api/drift.ts'
import { Callers } from './callers.ts'
import { failureOf, type Kind, kindOf, type Place } from './kinds.ts'
import { grown, type Look, settled } from './memory.ts'
import { anyEdits } from './raw.ts'
import { unreached, unrefusing, warmUp } from './reached.ts'
import { operationsOf, requestsFor } from './requests.ts'
import { Run, type Tally } from './run.ts'
import { AT_ONCE } from './sending.ts'
import { startSystem } from './system.ts'
import { refusedAgain } from './unchanged.ts'

export interface FuzzOptions {
  /** How many requests are sent, about. */
  requests: number
  /** The same seed makes the same requests; each seed makes others. */
  seed: number
  /** Modules that run in processes of their own, behind a gateway. */
  outside?: readonly string[]
  /** Nothing but this. */
  only?: Place | undefined
  /** Says what happens, line by line. */
  report: (line: string) => void
}

/** All operations are asked in turn, so often over; in a long run memory is looked at after each round. */
const ROUNDS = 6
/** A run of fewer requests says nothing about memory, and may have been too short for some refusals. */
const LONG = 10_000
/** Changes to a request that was valid. */
const MOST_CHANGES = 3

/**
 * Sends requests that no well-behaved client would send to every operation of `/openapi.json`, and sees that each gets an
 * answer that it should get, that the processes hold no more memory for it, and that what was refused has changed nothing.
 */
export async function fuzz(t: Test, options: FuzzOptions): Promise<void> {
  const { seed, only, report } = options
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

  await warmUp(run, new Map(operations.map((operation, n) => [operation, valid[n]!])), seed * ROUNDS)
  if (only) {
    const these = kinds.filter(({ name }) => name === only.kind)
    return round(these, only.seed, 1, only.path)
  }

  const started = performance.now()
  const isLong = options.requests >= LONG
  const memory = processes.map((): Look[] => [])
  for (let n = 0; n < ROUNDS; n++) {
    await round(kinds, seed * ROUNDS + n, Math.ceil(options.requests / ROUNDS / kinds.length))
    if (!isLong) continue
    const looks = await Promise.all(processes.map(({ process, opsUrl }) => settled(process, opsUrl)))
    for (const [index, look] of looks.entries()) memory[index]!.push({ ...look, requests: run.sent })
  }
  const seconds = (performance.now() - started) / 1000
  report(`${run.sent} requests in ${seconds.toFixed(0)} s; ${run.refused.length} are kept to be asked again.`)
  for (const [name, tally] of [...run.tallies].sort()) report(`  ${name.padEnd(42)} ${words(tally)}`)
  for (const [index, looks] of memory.entries()) {
    if (!isLong) continue
    report(`Memory of process ${index + 1}, in MiB, garbage collected:`)
    for (const { requests, heap, resident } of looks)
      report(
        `  after ${String(requests).padStart(6)} requests: heap ${heap.toFixed(1)}, resident ${resident.toFixed(0)}`,
      )
    t.strictSame(grown(looks), [], 'memory is flat')
  }
  if (isLong) {
    t.strictSame(unreached(run, operations), [], 'every operation has done its work')
    t.strictSame(unrefusing(run, operations), [], 'every operation has refused something')
  }

  const { checked, faults } = await refusedAgain(run.refused, { sender: run.sender, database })
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

function words({ sent, statuses }: Tally): string {
  const sorted = [...statuses].sort(([a], [b]) => a - b)
  return `${String(sent).padStart(5)}  ${sorted.map(([status, count]) => `${status || 'cut'}: ${count}`).join('  ')}`
}

/** What processes have logged, but for messages that nobody would take; and what nobody has caught. */
const complaintsIn = (output: string): string[] =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{"level":') || /unhandled|uncaught|ERR_|Warning:/i.test(line))
    .filter((line) => !line.includes('"msg":"a message could not be sent'))
