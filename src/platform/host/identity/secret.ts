import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * The secret of a development machine: made once, kept in `<folder>/secret` for its user alone, shared by all processes
 * that run in this folder, also when they start at the same moment.
 */
export async function developmentSecret(folder: string): Promise<string> {
  const file = join(folder, 'secret')
  const draft = join(folder, `secret.${process.pid}.${randomBytes(4).toString('hex')}`)
  try {
    return await readFile(file, 'utf8')
  } catch {
    await mkdir(folder, { recursive: true })
    await writeFile(draft, randomBytes(32).toString('hex'), { mode: 0o600 })
    // A link is made whole or not at all, and never over one that is there.
    await link(draft, file).catch(() => {})
    await rm(draft)
    return readFile(file, 'utf8')
  }
}
