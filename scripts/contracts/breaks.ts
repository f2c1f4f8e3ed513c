import type { TSchema } from 'typebox'
import { messageOf, type Shape } from '../../src/platform/host/rpc/grpc/shape.ts'
import { type Misfit, misfits, type Schema } from './accepts.ts'
import type { EventSnapshot, ProcedureSnapshot, Snapshot } from './snapshot.ts'

/** The modules that rely on one contract. */
export interface Dependents {
  /** Those that call its procedures. */
  readonly callers: readonly string[]
  /** Those that handle an event. */
  subscribersOf(event: string): readonly string[]
}

/**
 * What in a contract would break processes of the previous release, which run beside those of the next, or events that were
 * published by them: one line for each, with who is concerned. None: all of it goes on working.
 *
 * @param now undefined when the module is gone
 */
export function breaksOf(
  before: Snapshot,
  now: Snapshot | undefined,
  { callers, subscribersOf }: Dependents,
): string[] {
  const line = (what: string, who: readonly string[], does: string, remedy: string) => (why: string) =>
    `${before.module}.${what}: ${why}. ${who.length > 0 ? `Who ${does} it: ${who.join(', ')}` : `No module ${does} it, others may`}. ${remedy}`
  const procedures = Object.entries(before.procedures).flatMap(([name, old]) => {
    const next = `${name.replace(/V\d+$/, '')}V${old.version + 1}`
    const remedy = now?.procedures[name]
      ? `Leave it as it was, and offer ${next} beside it.`
      : 'Mark it as retired first, and take it away in the release after that.'
    return ofProcedure(old, now?.procedures[name]).map(line(name, callers, 'may call', remedy))
  })
  const events = Object.entries(before.events).flatMap(([key, old]) => {
    const remedy = `Leave it as it was, or make it version ${old.version + 1} with upcasts from ${old.version}.`
    return ofEvent(old, key, now).map(line(key, subscribersOf(old.name), 'handles', remedy))
  })
  return [...procedures, ...events]
}

const wordsOf = (what: string, found: readonly Misfit[]): string[] =>
  found.map(({ path, why }) => `${what}${path} ${why}`)

function ofProcedure(old: ProcedureSnapshot, now: ProcedureSnapshot | undefined): string[] {
  if (!now) return old.retired ? [] : ['it is gone']
  const errors = Object.entries(now.throws)
  return [
    ...(old.kind === now.kind ? [] : [`it was a ${old.kind} and is a ${now.kind}`]),
    ...wordsOf('what callers send, input', misfits(old.input, now.input, 'refuse')),
    ...wordsOf('output', misfits(now.output, old.output, 'ignore')),
    ...otherNumbers('input', old.input, now.input),
    ...otherNumbers('output', old.output, now.output),
    ...errors.filter(([code]) => !old.throws[code]).map(([code]) => `it throws ${code}, which callers do not know`),
    ...errors.flatMap(([code, error]) => {
      const known = old.throws[code]
      if (!known) return []
      if (known.status !== error.status) return [`the status of ${code} was ${known.status} and is ${error.status}`]
      if (!known.details) return []
      return error.details
        ? wordsOf(`${code}.details`, misfits(error.details, known.details, 'ignore'))
        : [`${code} has lost its details`]
    }),
  ]
}

function ofEvent(old: EventSnapshot, key: string, now: Snapshot | undefined): string[] {
  const all = Object.values(now?.events ?? {}).filter(({ name }) => name === old.name)
  const same = now?.events[key]
  if (same) {
    const lost = Object.keys(old.reads).filter(
      (version) => !(version in same.reads) && !all.some((one) => one.version === Number(version)),
    )
    return [
      ...(old.key === same.key ? [] : [`its key was ${old.key} and is ${same.key}, so its order is another`]),
      ...wordsOf('data', misfits(same.data, old.data, 'ignore')),
      ...wordsOf(
        'what is on its way, data',
        misfits(old.data, same.data, 'ignore').filter(({ why }) => why !== 'is gone'),
      ),
      ...lost.map((version) => `version ${version} of it cannot be read any more`),
    ]
  }
  const reader = all.find(({ reads }) => String(old.version) in reads)
  if (reader)
    return wordsOf(
      `what is on its way, upcasts/${old.version}`,
      misfits(old.data, reader.reads[old.version]!, 'ignore').filter(({ why }) => why !== 'is gone'),
    )
  if (old.retired) return []
  return all.length > 0
    ? [`version ${Math.max(...all.map(({ version }) => version))} of it does not read version ${old.version}`]
    : ['it is gone']
}

/** What is the same in JSON may be another message of Protocol Buffers, where fields have numbers and types (ADR 14). */
function otherNumbers(what: string, old: Schema, now: Schema): string[] {
  const [before, after] = [old, now].map((schema) => messageOf(schema as unknown as TSchema))
  return otherFields(before!, after!, what).map((words) => `by gRPC ${words}`)
}

function otherFields(old: Shape, now: Shape, path: string): string[] {
  if (old.kind !== now.kind)
    return onTheWire(old) === onTheWire(now) ? [] : [`${path} was ${old.kind} and is ${now.kind}`]
  if (old.kind === 'list' && now.kind === 'list') return otherFields(old.of, now.of, `${path}/*`)
  if (!('fields' in old && 'fields' in now)) return []
  return old.fields.flatMap((field) => {
    const same = now.fields.find(({ property }) => property === field.property)
    const at = `${path}/${field.property}`
    if (!same) return []
    if (same.number !== field.number)
      return [`${at} was field ${field.number} and is ${same.number}: add fields at the end`]
    return otherFields(field.shape, same.shape, at)
  })
}

/** Kinds that are read alike. */
function onTheWire({ kind }: Shape): string {
  if (kind === 'int32' || kind === 'int64') return 'varint'
  return kind === 'double' || kind === 'integer' ? 'double' : kind
}
