import fc, { type Arbitrary } from 'fast-check'
import { anyChange, apply, bytesOf, type Change, type Draft } from './changes.ts'
import { type Knowledge, Known } from './known.ts'
import { type Schema, validFor } from './schema.ts'

interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  schema?: Schema
}

/** One operation of `/openapi.json`, as far as requests are made from it. */
export interface Operation {
  /** As `GET /api/posts/{id}`. */
  name: string
  method: string
  path: string
  /** The module that answers. */
  module: string
  parameters: Parameter[]
  body: Schema | undefined
  /** The statuses that it is said to answer. */
  statuses: number[]
}

interface Document {
  paths: Record<string, Record<string, any>>
  components: { schemas: Record<string, Schema> }
}

export function operationsOf({ paths }: Document): Operation[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      module: operation.tags[0],
      parameters: operation.parameters ?? [],
      body: operation.requestBody?.content?.['application/json']?.schema,
      statuses: Object.keys(operation.responses).map(Number),
    })),
  )
}

/** Who asks: nobody, one of the signed-in callers, or somebody who shows what is worth nothing. */
export type Role = 'nobody' | 'member' | 'admin'

/** A request before it is known what the system knows. */
export interface Plan {
  caller: { role: Role; n: number; cookie: boolean }
  path: Record<string, unknown>
  query: Record<string, unknown>
  headers: Record<string, unknown>
  body: unknown
  changes: Change[]
}

/** A request as it is sent. */
export interface Request {
  method: string
  path: string
  headers: [name: string, value: string][]
  body: Buffer | undefined
}

/** Requests for an operation: valid ones with up to so many changes. */
export function requestsFor(operation: Operation, { components }: Document, mostChanges: number): Arbitrary<Plan> {
  const { parameters, body } = operation
  const of = (place: Parameter['in']) => parameters.filter((parameter) => parameter.in === place)
  const names = (place: Parameter['in']) => of(place).map(({ name }) => name)
  const values = (place: Parameter['in']) =>
    fc.record(
      Object.fromEntries(
        of(place).map(({ name, schema = {} }) => [name, known(operation, place, name, schema, components.schemas)]),
      ),
      { requiredKeys: of(place).flatMap(({ name, required }) => (required ? [name] : [])) },
    )
  const changes = anyChange({ parameters: names('query'), headers: names('header'), takesBody: body !== undefined })
  return fc.record({
    caller: fc.record({
      role: fc.constantFrom<Role>('member', 'member', 'member', 'admin', 'admin', 'nobody'),
      n: fc.nat(100),
      cookie: fc.constantFrom(false, false, false, true),
    }),
    path: values('path'),
    query: fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: values('query') }),
    headers: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: values('header') }),
    body: body ? validFor(body, '', components.schemas) : fc.constant(undefined),
    changes: fc.array(changes, { maxLength: mostChanges }),
  })
}

/** Values of parameters of which the system knows good ones: ids (of what is before them in the path), cursors, ETags. */
function known(
  { path, name: operation }: Operation,
  place: Parameter['in'],
  name: string,
  schema: Schema,
  named: Record<string, Schema>,
): Arbitrary<unknown> {
  const valid = validFor(schema, name, named)
  const knownAs =
    place === 'path'
      ? path.slice(0, path.indexOf(`/{${name}}`))
      : name === 'cursor'
        ? `cursor of ${operation}`
        : /^if-(none-)?match$/i.test(name)
          ? 'etag'
          : undefined
  if (knownAs === undefined) return valid
  const thing = fc.tuple(fc.nat(1_000), valid).map(([n, otherwise]) => new Known(knownAs, n, otherwise))
  return fc.oneof({ weight: 7, arbitrary: thing }, { weight: 1, arbitrary: valid })
}

/** Makes a request of a plan: fills in what is known, then changes it as planned. */
export function drafted(
  operation: Operation,
  plan: Plan,
  {
    knowledge,
    caller,
    credentials,
  }: { knowledge: Knowledge; caller?: string | undefined; credentials: Request['headers'] },
): Request {
  const of = (value: unknown) => knowledge.resolve(value, { caller, page: operation.path.split('/').at(-1) })
  const text = (value: unknown) => String(of(value))
  const url = (value: unknown) => encodeURIComponent(text(value).toWellFormed())
  const draft: Draft = {
    method: operation.method,
    segments: operation.path
      .split('/')
      .slice(1)
      .map((part) => {
        const [, name] = /^\{(\w+)\}$/.exec(part) ?? []
        return name === undefined ? part : url(plan.path[name])
      }),
    tail: '',
    query: Object.entries(plan.query).map(([name, value]) => `${name}=${url(value)}`),
    headers: [
      ...credentials,
      ...Object.entries(plan.headers).map(([name, value]): [string, string] => [name.toLowerCase(), text(value)]),
      ...(plan.body === undefined ? [] : [['content-type', 'application/json'] as [string, string]]),
    ],
    json: of(plan.body),
    text: undefined,
    body: undefined,
  }
  for (const change of plan.changes) apply(change, draft)
  const bytes = bytesOf(draft)
  return {
    method: draft.method,
    path: sendable(
      `/${draft.segments.join('/')}${draft.tail}${draft.query.length > 0 ? `?${draft.query.join('&')}` : ''}`,
    ),
    headers: draft.headers.map(([name, value]) => [name, value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?')]),
    body: bytes.length > 0 ? bytes : undefined,
  }
}

/** An HTTP client must encode what would end the request line. */
const sendable = (path: string) => path.replace(/[^\x21-\xff]/g, (letter) => encodeURIComponent(letter.toWellFormed()))
