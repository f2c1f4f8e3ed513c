import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'

// What a module's author must read before writing a module; see docs: a quarter of an hour.
const limit = 400

t.test(`the kit's core stays under ${limit} lines`, async (t) => {
  const kit = new URL('../../src/platform/kit/', import.meta.url)
  const files = ['contract.ts', 'module.ts', 'types.ts']
    .map((name) => new URL(name, kit))
    .filter((url) => existsSync(url))
  const lines = files.map((url) => readFileSync(url, 'utf8').trimEnd().split('\n').length)
  t.ok(files.length >= 2, 'contract.ts and module.ts are there')
  const total = lines.reduce((sum, count) => sum + count, 0)
  t.ok(total < limit, `${total} lines`)
})
