import { execFile } from 'node:child_process'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import openapiTS, { astToString } from 'openapi-typescript'
import t from 'tap'
import { startTopology } from '../support/topology.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
/** Inside of the project, so that what is generated finds the libraries. */
const folder = join(root, '.tap', `typed-client-${process.pid}`)

t.test('a typed client is generated from the document, compiles, and plays the story', async (t) => {
  const topology = await startTopology({ outside: ['posts'] })
  t.teardown(async () => {
    await topology.close()
    await rm(folder, { recursive: true, force: true })
  })
  const document = await fetch(`${topology.url}/openapi.json`).then((answer) => answer.text())
  await mkdir(join(folder, 'generated'), { recursive: true })
  await writeFile(join(folder, 'generated/api.ts'), astToString(await openapiTS(document)))
  await cp(join(import.meta.dirname, 'fixtures/story.ts'), join(folder, 'story.ts'))
  const options = { extends: '../../tsconfig.json', compilerOptions: { incremental: false }, include: ['*.ts'] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(options))

  const compiled = await run(join(root, 'node_modules/.bin/tsc'), ['-p', folder]).catch(({ stdout }) => ({ stdout }))
  t.equal(compiled.stdout, '', 'the story is typed as the document says')
  const { stdout } = await run(process.execPath, [join(folder, 'story.ts'), topology.url])
  t.match(JSON.parse(stdout), {
    status: 'published',
    postCount: 1,
    titles: ['On engines'],
    refused: [{ path: '/body/title', message: 'is missing' }],
  })
})
