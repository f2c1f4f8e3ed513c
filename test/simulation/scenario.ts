import fc from 'fast-check'

/** One command of the workload. */
export interface Deed {
  readonly kind: 'add' | 'add nothing' | 'move'
  readonly amount: number
  /** Of each attempt, in milliseconds. */
  readonly timeout: number
  /** How often it is tried before it is given up. */
  readonly attempts: number
  /** Whether it is sent again after it was answered. */
  readonly again: boolean
}

/** What a process of another module suffers while commands are under way. */
export interface Mishap {
  /** When so many commands have begun. */
  readonly after: number
  readonly what: 'restart' | 'cut connections'
  readonly process: 'ledger' | 'broker'
}

/** Everything that is left to chance in one round. */
export interface Scenario {
  readonly outside: readonly ('ledger' | 'broker')[]
  readonly rpc: 'http' | 'grpc'
  /** As in `FAULTS`. */
  readonly faults: readonly string[]
  readonly faultsSeed: number
  /** Commands under way at a time. */
  readonly concurrency: number
  readonly deeds: readonly Deed[]
  readonly mishaps: readonly Mishap[]
}

const DEEDS = 60

const probability = fc.integer({ min: 1, max: 20 }).map((hundredths) => hundredths / 100)
const fault = fc
  .tuple(
    fc.constantFrom('*', 'ledger', 'ledger.add', 'broker', 'broker.move'),
    fc.oneof(
      fc.integer({ min: 1, max: 150 }).map((delay) => `delay=${delay}`),
      fc.constantFrom('drop', 'drop-answer', 'error', 'duplicate', 'partial'),
    ),
    probability,
  )
  .map(([target, kind, likely]) => `${target}:${kind}@${likely}`)

const deed: fc.Arbitrary<Deed> = fc.record({
  kind: fc.constantFrom('add', 'add', 'add', 'add nothing', 'move', 'move'),
  amount: fc.integer({ min: 1, max: 1_000 }),
  timeout: fc.integer({ min: 100, max: 1_500 }),
  attempts: fc.integer({ min: 1, max: 8 }),
  again: fc.boolean(),
})

const scenario: fc.Arbitrary<Scenario> = fc.record({
  outside: fc.constantFrom(['ledger', 'broker'], ['ledger', 'broker'], ['ledger'], ['broker'], []),
  rpc: fc.constantFrom('http', 'grpc'),
  faults: fc.array(fault, { maxLength: 5 }),
  faultsSeed: fc.nat(),
  concurrency: fc.integer({ min: 1, max: 24 }),
  deeds: fc.array(deed, { minLength: DEEDS, maxLength: DEEDS }),
  mishaps: fc.array(
    fc.record({
      after: fc.integer({ min: 1, max: DEEDS - 1 }),
      what: fc.constantFrom('restart', 'cut connections', 'cut connections'),
      process: fc.constantFrom('ledger', 'broker'),
    }),
    { maxLength: 3 },
  ),
})

/** The scenario of a seed, always the same. */
export const scenarioOf = (seed: number): Scenario => fc.sample(fc.noBias(scenario), { seed, numRuns: 1 })[0]!

/** For people, in a line. */
export const inWords = ({ outside, rpc, faults, concurrency, mishaps }: Scenario): string =>
  [
    outside.length > 0 ? `${outside.join(' and ')} outside, by ${rpc}` : 'all in one process',
    `${concurrency} at a time`,
    `FAULTS=${faults.join(',')}`,
    ...mishaps.map(({ what, process, after }) => `${what} of ${process} after ${after}`),
  ].join('; ')
