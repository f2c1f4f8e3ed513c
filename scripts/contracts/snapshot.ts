import type { Contract } from '../../src/platform/kit/contract.ts'
import type { Schema } from './accepts.ts'

/** What others rely on in a contract, as `contracts/<module>.json` keeps it. */
export interface Snapshot {
  readonly module: string
  readonly procedures: Readonly<Record<string, ProcedureSnapshot>>
  /** By name and version: `user.created v1`. */
  readonly events: Readonly<Record<string, EventSnapshot>>
}

export interface ProcedureSnapshot {
  /** The number at the end of its name: 2 of `getUserV2`, and 1 where there is none. */
  readonly version: number
  readonly kind: string
  readonly retired?: boolean
  readonly input: Schema
  readonly output: Schema
  /** For each error its status, and the shape of its details. */
  readonly throws: Readonly<Record<string, { status: number; details?: Schema }>>
}

export interface EventSnapshot {
  readonly name: string
  readonly version: number
  readonly key: string
  readonly retired?: boolean
  readonly data: Schema
  /** What the earlier versions were like that it reads. */
  readonly reads: Readonly<Record<string, Schema>>
}

export function snapshotOf(contract: Contract): Snapshot {
  const procedures = Object.entries(contract.procedures).map(([name, { kind, retired, input, output, throws }]) => {
    const errors = throws.map((code) => {
      const { status, details } = contract.errors[code]!.shape
      return [code, { status, details }]
    })
    return [name, { version: versionOf(name), kind, retired, input, output, throws: Object.fromEntries(errors) }]
  })
  const events = Object.values(contract.events).map(({ name, version, key, retired, data, upcasts = {} }) => {
    const reads = Object.entries(upcasts).map(([old, { data }]) => [old, data])
    return [`${name} v${version}`, { name, version, key, retired, data, reads: Object.fromEntries(reads) }]
  })
  const { name: module } = contract
  // As it comes back from its file.
  return JSON.parse(
    JSON.stringify({ module, procedures: Object.fromEntries(procedures), events: Object.fromEntries(events) }),
  )
}

const versionOf = (name: string): number => Number(/V(\d+)$/.exec(name)?.[1] ?? 1)

/** The text of its file. */
export const textOf = (snapshot: Snapshot): string => `${JSON.stringify(snapshot, null, 2)}\n`
