import type { Contract, Procedure } from '../../../kit/contract.ts'
import { camelCase, pascalCase } from './names.ts'
import { serviceOf } from './service.ts'
import { type Field, JSON_FIELD, messageOf, type Scalar, type Shape } from './shape.ts'
import { grpcStatusName } from './status-codes.ts'

/**
 * A contract as the text of a `.proto` file, to call the module from another language, or to write it in one.
 *
 * @example console.log(protoOf(users))
 */
export function protoOf(contract: Contract): string {
  const service = serviceOf(contract)
  const procedures = Object.entries(contract.procedures).map(([name, procedure]) => ({
    procedure,
    method: service.methods[name]!.name,
  }))
  const rpcs = procedures.map(({ procedure, method }) => [
    `// ${commentOf(contract, procedure)}`,
    `rpc ${method}(${method}Request) returns (${method}Response);`,
  ])
  const messages = procedures.flatMap(({ procedure, method }) => [
    wholeMessage(`${method}Request`, messageOf(procedure.input)),
    wholeMessage(`${method}Response`, messageOf(procedure.output)),
  ])
  const parts = [
    introduction(contract.name),
    ['syntax = "proto3";'],
    [`package ${service.package};`],
    block(`service ${service.name}`, rpcs.flat()),
    ...messages,
  ]
  return `${parts.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

const introduction = (module: string): string[] => [
  `// The contract of "${module}", as Seam serves it with RPC=grpc. Printed by: npm run seam -- proto ${module}`,
  '//',
  '// Fields have the numbers of the order in which the contract declares them. Those that may be absent say so; all others',
  '// must be there, and are marked "optional" so that one can see whether they are.',
  '//',
  '// A call carries x-seam-service, a token of a module that may call this one, in its metadata; without it no method exists.',
  '// x-seam-identity says who the user is; x-request-id, traceparent and, to make a command safe to repeat, idempotency-key go',
  '// along. An error is a status, and in the trailing metadata seam-error-bin: JSON, { module, code, message, details }.',
]

function commentOf(contract: Contract, { kind, throws }: Procedure): string {
  const what = kind === 'query' ? 'A query: safe to repeat.' : 'A command: it changes something.'
  const errors = throws.map((code) => `${code} (${grpcStatusName(contract.errors[code]!.shape.status)})`)
  return errors.length > 0 ? `${what} Errors: ${errors.join(', ')}.` : what
}

type MessageShape = Extract<Shape, { fields: unknown }>

const wholeMessage = (name: string, shape: MessageShape): string[] =>
  block(`message ${name}`, [
    ...linesOf(shape),
    '// Only where text holds half of a surrogate pair: the whole as JSON, and no other field.',
    `optional string ${JSON_FIELD.name} = ${JSON_FIELD.number};`,
  ])

const linesOf = ({ fields }: MessageShape): string[] =>
  fields.flatMap((field) => [...nested(field), ...fieldLines(field)])

function nested({ name, shape }: Field): string[] {
  const inner = shape.kind === 'list' ? shape.of : shape
  return 'fields' in inner ? block(`message ${pascalCase(name)}`, linesOf(inner)) : []
}

function fieldLines(field: Field): string[] {
  const { name, number, property, shape } = field
  const label = shape.kind === 'list' ? 'repeated' : 'optional'
  const inJson = camelCase(name) === property ? '' : ` [json_name = ${JSON.stringify(property)}]`
  const words = wordsOf(field)
  return [
    ...(words ? [`// ${words}`] : []),
    `${label} ${typeOf(shape.kind === 'list' ? shape.of : shape, name)} ${name} = ${number}${inJson};`,
  ]
}

function wordsOf({ description, required, nullable, shape }: Field): string {
  const inner = shape.kind === 'list' ? shape.of : shape
  return [
    description?.replace(/\s+/g, ' '),
    inner.kind === 'integer' && 'An integer.',
    inner.kind === 'json' && 'JSON text.',
    inner.kind === 'null' && 'There when it is null.',
    nullable && 'Absent: null.',
    !required && 'May be absent.',
  ]
    .filter(Boolean)
    .join(' ')
}

const typeOf = (shape: Exclude<Shape, { kind: 'list' }>, name: string): string =>
  'fields' in shape ? pascalCase(name) : PROTO_TYPES[shape.kind]

const PROTO_TYPES: Record<Scalar, string> = {
  string: 'string',
  json: 'string',
  bool: 'bool',
  double: 'double',
  integer: 'double',
  int32: 'int32',
  int64: 'int64',
}

function block(head: string, lines: readonly string[]): string[] {
  return lines.length > 0 ? [`${head} {`, ...lines.map((line) => `  ${line}`), '}'] : [`${head} {}`]
}
