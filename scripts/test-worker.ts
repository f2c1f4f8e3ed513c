// Runs test files one after the other, each that a line of the standard input names, and says after each what became of it.
// What it imports and what V8 has compiled serve them all: on its own, a file spends half of its time on that.

import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { enter } from './current-test.ts'

const root = join(import.meta.dirname, '..')
const tests = pathToFileURL(join(root, 'test/')).href
const current = import.meta.resolve('./current-test.ts')

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'tap' && context.parentURL?.startsWith(tests)
      ? { url: current, format: 'module-typescript', shortCircuit: true }
      : next(specifier, context),
})

t.setTimeout(0)
for await (const name of createInterface({ input: process.stdin })) {
  const test = t.test(name, { timeout: Number(process.env.TAP_TIMEOUT) * 2000 }, async (t) => {
    enter(t)
    await import(pathToFileURL(join(root, name)).href)
  })
  await test
  const { pass, fail, skip, todo } = test.subtest!.assertTotals
  console.log(`# done ${JSON.stringify({ passed: pass, failed: fail + skip + todo })}`)
}

// Nothing may be open any more that keeps a process alive.
setTimeout(() => {
  console.error(`A test file has left something open: ${process.getActiveResourcesInfo().join(', ')}.`)
  process.exit(1)
}, 10_000).unref()
