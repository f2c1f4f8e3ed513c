import fc, { type Arbitrary } from 'fast-check'
import { anyBody, anyHeader, anyJson, anyMember, anyParameter, anyRaw, anyTail } from './values.ts'

/** A request as it is put together, before it is bytes. */
export interface Draft {
  method: string
  /** The parts of the path between slashes, as they are sent. */
  segments: string[]
  /** What follows the last segment. */
  tail: string
  query: string[]
  headers: [name: string, value: string][]
  json: unknown
  /** Set when the body is not (or not only) what `json` says. */
  text: string | undefined
  body: Buffer | undefined
}

/** One thing that is done to a request that was valid before. */
export type Change =
  | { kind: 'method'; method: string }
  | { kind: 'segment'; n: number; raw: string }
  | { kind: 'tail'; raw: string }
  | { kind: 'parameter'; raw: string }
  | { kind: 'header'; header: [name: string, value: string]; again: boolean }
  | { kind: 'drop'; n: number }
  | { kind: 'replace'; n: number; json: string }
  | { kind: 'member'; member: string; first: boolean }
  | { kind: 'cut'; part: number }
  | { kind: 'bytes'; part: number; bytes: Buffer }
  | { kind: 'body'; body: Buffer }
  | { kind: 'no body' }

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']
/** Bytes that are no UTF-8, the mark of a byte order, and what JSON does not have. */
const BYTES = ['ff', 'c080', 'eda080', 'f5', 'efbbbf', '00', '2c', '7d', '0a'].map((hex) => Buffer.from(hex, 'hex'))

/** Changes for an operation; those of the body only where it takes one. */
export function anyChange(operation: {
  parameters: readonly string[]
  headers: readonly string[]
  takesBody: boolean
}): Arbitrary<Change> {
  const kind = <K extends Change['kind'], T extends Record<string, Arbitrary<unknown>>>(kind: K, parts: T) =>
    fc.record({ kind: fc.constant(kind), ...parts }) as unknown as Arbitrary<Change>
  const part = fc.double({ min: 0, max: 1, noNaN: true })
  const inBody = [
    { weight: 3, arbitrary: kind('drop', { n: fc.nat(30) }) },
    { weight: 8, arbitrary: kind('replace', { n: fc.nat(30), json: anyJson }) },
    { weight: 3, arbitrary: kind('member', { member: anyMember, first: fc.boolean() }) },
    { weight: 1, arbitrary: kind('cut', { part }) },
    { weight: 1, arbitrary: kind('bytes', { part, bytes: fc.constantFrom(...BYTES) }) },
    { weight: 1, arbitrary: kind('no body', {}) },
  ]
  return fc.oneof(
    { weight: 1, arbitrary: kind('method', { method: fc.constantFrom(...METHODS) }) },
    { weight: 3, arbitrary: kind('segment', { n: fc.constantFrom(0, 0, 0, 1, 1, 2), raw: anyRaw }) },
    { weight: 1, arbitrary: kind('tail', { raw: anyTail }) },
    { weight: 3, arbitrary: kind('parameter', { raw: anyParameter(operation.parameters) }) },
    { weight: 4, arbitrary: kind('header', { header: anyHeader(operation.headers), again: fc.boolean() }) },
    { weight: 1, arbitrary: kind('body', { body: anyBody }) },
    ...(operation.takesBody ? inBody : []),
  )
}

export function apply(change: Change, draft: Draft): void {
  switch (change.kind) {
    case 'method':
      draft.method = change.method
      return
    case 'segment':
      // The last ones first: those are parameters.
      draft.segments[draft.segments.length - 1 - (change.n % draft.segments.length)] = change.raw
      return
    case 'tail':
      draft.tail = change.raw
      return
    case 'parameter':
      draft.query.push(change.raw)
      return
    case 'header':
      if (!change.again) draft.headers = draft.headers.filter(([name]) => name !== change.header[0])
      draft.headers.push(change.header)
      return
    case 'drop':
      draft.text = withPart(textOf(draft), change.n, undefined)
      return
    case 'replace':
      draft.text = withPart(textOf(draft), change.n, change.json)
      return
    case 'member':
      draft.text = withMember(textOf(draft), change)
      return
    case 'cut': {
      const bytes = bytesOf(draft)
      draft.body = bytes.subarray(0, Math.floor(bytes.length * change.part))
      return
    }
    case 'bytes': {
      const bytes = bytesOf(draft)
      const at = Math.floor(bytes.length * change.part)
      draft.body = Buffer.concat([bytes.subarray(0, at), change.bytes, bytes.subarray(at)])
      return
    }
    case 'body':
      draft.body = change.body
      return
    case 'no body':
      draft.body = Buffer.alloc(0)
  }
}

/** The body as it will be sent. */
export const bytesOf = (draft: Draft): Buffer => draft.body ?? Buffer.from(textOf(draft))

const textOf = ({ text, json }: Draft): string => text ?? JSON.stringify(json) ?? ''

/**
 * JSON with the nth of its values, at any depth, replaced by something that need not be JSON, or left out. What is no JSON
 * any more, or nested too deep to be read here, stays as it is.
 */
function withPart(text: string, n: number, replacement: string | undefined): string {
  const mark = `a part of ${text.length} letters`
  let count = 0
  let wanted = -1
  const visit = (_key: string, part: unknown) => {
    if (count++ !== wanted) return part
    return replacement === undefined ? undefined : mark
  }
  try {
    const value = JSON.parse(text)
    JSON.stringify(value, visit)
    wanted = n % count
    count = 0
    return JSON.stringify(value, visit)?.replace(`"${mark}"`, () => replacement ?? '') ?? ''
  } catch {
    return text
  }
}

const withMember = (text: string, { member, first }: { member: string; first: boolean }): string => {
  if (!text.startsWith('{') || !text.endsWith('}')) return text
  const inner = text.slice(1, -1)
  const members = first ? [member, inner] : [inner, member]
  return `{${members.filter((part) => part !== '').join()}}`
}
