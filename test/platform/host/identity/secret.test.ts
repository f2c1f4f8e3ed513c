import { execFile } from 'node:child_process'
import { chmod, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { developmentSecret } from '../../../../src/platform/host/identity/secret.ts'

const run = promisify(execFile)
const module = JSON.stringify(import.meta.resolve('../../../../src/platform/host/identity/secret.ts'))

t.test('ten processes that start at once have the same secret, which only their user can read', async (t) => {
  const folder = join(t.testdir(), 'made', 'on', 'demand')
  // Each waits for the same moment, so that they meet.
  const moment = Date.now() + 1_500
  const program = `
    import { developmentSecret } from ${module}
    while (Date.now() < ${moment});
    process.stdout.write(await developmentSecret(process.argv[1]))`
  const processes = await Promise.all(
    Array.from({ length: 10 }, () => run(process.execPath, ['--input-type=module', '--eval', program, folder])),
  )
  const secrets = new Set(processes.map(({ stdout }) => stdout))
  t.equal(secrets.size, 1)
  t.match([...secrets][0], /^[0-9a-f]{64}$/)
  t.equal((await stat(join(folder, 'secret'))).mode & 0o777, 0o600)
  t.strictSame(await readdir(folder), ['secret'], 'no drafts stay')
})

t.test('many callers in one process have the same secret, and the next process has it too', async (t) => {
  const folder = t.testdir()
  const secrets = new Set(await Promise.all(Array.from({ length: 50 }, () => developmentSecret(folder))))
  t.equal(secrets.size, 1)
  t.equal(await developmentSecret(folder), [...secrets][0])
  t.strictSame(await readdir(folder), ['secret'])
})

t.test('two folders have two secrets', async (t) => {
  t.not(await developmentSecret(t.testdir({ a: {} })), await developmentSecret(join(t.testdirName, 'a')))
})

t.test('a file that is too short to be a secret is no secret', async (t) => {
  for (const content of ['', '\n', 'short']) {
    const folder = t.testdir({ secret: content })
    await t.rejects(developmentSecret(folder), { message: new RegExp(`${join(folder, 'secret')}`) })
  }
})

t.test('a folder that cannot be written to is said to be so', async (t) => {
  const folder = t.testdir({ file: 'not a folder' })
  await t.rejects(developmentSecret(join(folder, 'file')), { code: /ENOTDIR|EEXIST/ })
  await writeFile(join(folder, 'secret'), 'x'.repeat(64))
  await chmod(join(folder, 'secret'), 0o600)
  t.equal(await developmentSecret(folder), 'x'.repeat(64))
})
