import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cruise, type ICruiseResult } from 'dependency-cruiser'
import extractConfig from 'dependency-cruiser/config-utl/extract-depcruise-config'
import t from 'tap'

const root = join(import.meta.dirname, '../..')
const config = await extractConfig(join(root, '.dependency-cruiser.mjs'))
const forbidden = config.forbidden ?? []
const fixtures = join(import.meta.dirname, 'fixtures')

async function check(baseDir: string): Promise<ICruiseResult> {
  const { output } = await cruise(['src'], {
    ...config.options,
    ruleSet: { forbidden },
    validate: true,
    baseDir,
  })
  return output as ICruiseResult
}

const describe = ({ summary }: ICruiseResult) => summary.violations.map((v) => `${v.rule.name}: ${v.from} -> ${v.to}`)
const violated = ({ summary }: ICruiseResult) => [...new Set(summary.violations.map((v) => v.rule.name))]

t.test('each rule has an example that breaks it', async (t) => {
  const rules = forbidden.map((rule) => String(rule.name))
  t.strictSame(readdirSync(fixtures).sort(), ['clean', ...rules].sort())
})

for (const name of forbidden.map((rule) => String(rule.name))) {
  t.test(`${name} bites`, async (t) => {
    const result = await check(`${fixtures}/${name}`)
    t.strictSame(violated(result), [name], describe(result).join('\n'))
  })
}

t.test('an example that keeps every rule passes', async (t) => {
  const result = await check(`${fixtures}/clean`)
  t.strictSame(describe(result), [])
})

t.test('each wrong import in an example is found, not only the first', async (t) => {
  t.equal((await check(`${fixtures}/module-keeps-to-itself`)).summary.violations.length, 3)
  t.equal((await check(`${fixtures}/module-names-no-transport`)).summary.violations.length, 4)
})

t.test('src keeps every rule', async (t) => {
  const result = await check(root)
  t.strictSame(describe(result), [])

  // With a TypeScript that it does not understand, dependency-cruiser finds no imports and so no violations.
  const own = result.modules.filter(({ source }) => source.startsWith('src/'))
  const imports = own.flatMap(({ dependencies }) => dependencies)
  t.ok(own.length > 10, `${own.length} files of src were read`)
  t.ok(imports.length > own.length, `${imports.length} imports were found`)
  t.ok(
    imports.some((i) => i.resolved.startsWith('src/') && i.dependencyTypes.includes('type-only')),
    'imports of types count',
  )
  t.ok(
    imports.some((i) => i.resolved.includes('node_modules/fastify/')),
    'packages are found',
  )
})

t.test('importing every manifest loads no implementation', async (t) => {
  const code = `
    const { registerHooks } = await import('node:module')
    const seen = []
    registerHooks({ load: (url, context, next) => (seen.push(url), next(url, context)) })
    await import('./src/modules/catalogue.ts')
    console.log(JSON.stringify(seen))`
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', code], {
    cwd: root,
    timeout: 20_000,
    encoding: 'utf8',
  })
  const seen = (JSON.parse(output) as string[]).map((url) => url.slice(url.indexOf(root) + root.length + 1))
  t.ok(
    seen.some((path) => /^src\/modules\/[^/]+\/contract\.ts$/.test(path)),
    'contracts are loaded',
  )
  const heavy = seen.filter((path) => path.startsWith('node_modules/') && !path.startsWith('node_modules/typebox/'))
  t.strictSame(heavy, [], 'typebox is the only package')
})
