import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BootError } from '../boot-error.ts'

/**
 * The secret of a development machine: made once, kept in `<folder>/secret` for its user alone, shared by all processes
 * that run in this folder, also when they start at the same moment.
 */
export async function developmentSecret(folder: string): Promise<string> {
  const file = join(folder, 'secret')
  try {
    return await read(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const draft = join(folder, `secret.${process.pid}.${randomBytes(4).toString('hex')}`)
  await mkdir(folder, { recursive: true })
  await writeFile(draft, randomBytes(32).toString('hex'), { mode: 0o600 })
  // A link is made whole or not at all, and never over one that is there.
  await link(draft, file).catch(() => {})
  await rm(draft)
  return read(file)
}

async function read(file: string): Promise<string> {
  const secret = await readFile(file, 'utf8')
  if (secret.length >= 32) return secret
  throw new BootError([`${file} holds no secret of at least 32 characters. Remove it, and a new one will be made.`])
}
