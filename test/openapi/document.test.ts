import { createConfig, lintFromString } from '@redocly/openapi-core'
import t from 'tap'
import { createAjv } from '../../src/platform/host/ajv.ts'
import { theDocument } from '../api/drift.ts'

t.test('the linter has nothing to say about the document', async (t) => {
  const config = await createConfig({
    extends: ['recommended-strict'],
    rules: {
      // OpenAPI says that the path without parameters is meant where both fit, and the router does so, too.
      'no-ambiguous-paths': 'off',
    },
  })
  const source = JSON.stringify(await theDocument())
  const problems = await lintFromString({ source, absoluteRef: 'openapi.json', config })
  t.strictSame(
    problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0]?.pointer ?? ''}`),
    [],
  )
})

t.test('every operation says all that a consumer must know', async (t) => {
  const { paths } = await theDocument()
  const ids = new Set<string>()
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(item) as [string, any][]) {
      const what = `${method.toUpperCase()} ${path}`
      t.ok(operation.operationId && operation.summary, `${what} has an id and a summary`)
      t.notOk(ids.has(operation.operationId), `${what} has an id of its own`)
      ids.add(operation.operationId)
      t.ok(operation.tags?.length === 1, `${what} belongs to one module`)
      t.ok(operation.security?.length > 0, `${what} says who may use it`)
      for (const { name, description, schema } of operation.parameters ?? [])
        t.ok(description || schema?.description, `${what} explains its parameter ${name}`)
      for (const [status, answer] of Object.entries(operation.responses) as [string, any][]) {
        t.ok(answer.description, `${what} explains ${status}`)
        if (Number(status) >= 400 && path !== '/api/health')
          t.ok(answer.content['application/problem+json'], `${what} answers ${status} as a problem`)
      }
    }
  }
})

interface Schema {
  pattern?: string
  examples?: unknown[]
}

t.test('whatever must look as a pattern says has an example, and examples are valid', async (t) => {
  const ajv = createAjv()
  // The examples of a parameter stand beside its schema.
  const look = (part: unknown, at: string, beside?: unknown): void => {
    if (typeof part !== 'object' || part === null) return
    for (const [key, value] of Object.entries(part)) look(value, `${at}/${key}`, part)
    const { pattern, examples } = part as Schema
    const { example, examples: others } = (beside ?? {}) as { example?: unknown; examples?: object }
    if (typeof pattern === 'string')
      t.ok(examples?.length || example !== undefined || others !== undefined, `${at} has an example`)
    if (!Array.isArray(examples)) return
    for (const example of examples) t.ok(ajv.validate(part, example), `${at}: ${example}`)
  }
  const { paths, components } = await theDocument()
  look(paths, '/paths')
  look(components.schemas, '/schemas')
})
