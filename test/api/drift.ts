import { catalogue } from '../../src/modules/catalogue.ts'
import { createAjv } from '../../src/platform/host/ajv.ts'
import { closed } from '../../src/platform/host/codec.ts'
import { describeApi } from '../../src/platform/host/openapi/describe.ts'
import type { Answer } from './client.ts'

interface Operation {
  responses: Record<
    string,
    { $ref?: string; headers?: Record<string, object>; content?: Record<string, { schema: object }> }
  >
}

interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object> }
}

type Check = (body: unknown) => string | undefined

/** Compares what is answered with what `/openapi.json` says is answered: status, headers that it promises, type, body. */
export interface Drift {
  /** What was answered otherwise, each once. */
  readonly faults: ReadonlySet<string>
  /** The operations that were seen, as `GET /api/posts`. */
  readonly seen: ReadonlySet<string>
  /** All operations. */
  readonly operations: readonly string[]
  look(method: string, path: string, answer: Answer): void
}

let document: Promise<Document> | undefined

/** The document is made once for all tests of a process. */
export const theDocument = (): Promise<Document> => {
  document ??= describeApi(catalogue) as Promise<Document>
  return document
}

let checks: Promise<(schema: object) => Check> | undefined

/** Compiles each schema of the document when it is first asked for. */
async function compileOnce(): Promise<(schema: object) => Check> {
  const { components } = await theDocument()
  const ajv = createAjv()
  for (const [name, schema] of Object.entries(components.schemas))
    ajv.addSchema(closed(schema) as object, `#/components/schemas/${name}`)
  const compiled = new WeakMap<object, Check>()
  return (schema) => {
    let check = compiled.get(schema)
    if (!check) {
      const validate = ajv.compile(closed(schema) as object)
      check = (body) => (validate(body) ? undefined : ajv.errorsText(validate.errors))
      compiled.set(schema, check)
    }
    return check
  }
}

/** Refusals of what never comes as far as an operation: no request, no path, no method of it. */
const BEFORE_ROUTES = new Set([404, 405, 408, 414, 431])

export async function watchDrift(): Promise<Drift> {
  const { paths } = await theDocument()
  const checkOf = await (checks ??= compileOnce())
  const templates = Object.keys(paths)
    .map((path) => ({ path, pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+')}$`) }))
    // Where both fit, the path without parameters is meant.
    .sort((a, b) => a.path.split('{').length - b.path.split('{').length)

  const faults = new Set<string>()
  const seen = new Set<string>()
  return {
    faults,
    seen,
    operations: Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    ),
    look(method, path, { status, headers, body, text }) {
      const template = templates.find(({ pattern }) => pattern.test(path.split('?', 1)[0]!))
      const operation = template && paths[template.path]?.[method.toLowerCase()]
      if (!operation) return
      const what = `${method} ${template.path} ${status}`
      if (BEFORE_ROUTES.has(status) && body?.module === 'seam') return
      seen.add(`${method} ${template.path}`)
      const answer = operation.responses[String(status)]
      if (!answer) return void faults.add(`${what} is not in the document (${body?.code ?? text.slice(0, 80)})`)
      for (const name of ['Location', 'ETag'])
        if (answer.headers?.[name] && headers[name.toLowerCase()] === undefined)
          faults.add(`${what} comes without ${name}, which the document promises`)
      const type = String(headers['content-type'] ?? '').split(';', 1)[0]!
      const content = answer.content?.[type]
      if (!answer.content && text !== '') faults.add(`${what} has a body, which the document does not say`)
      else if (answer.content && !content) faults.add(`${what} comes as "${type}", which the document does not say`)
      else if (content && type.endsWith('json')) {
        const wrong = checkOf(content.schema)(body)
        if (wrong) faults.add(`${what}: ${wrong}`)
      }
    },
  }
}
