import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

// OWASP's Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes, one lane.
const MEMORY = 19_456
const PASSES = 2
const LANES = 1
const LENGTH = 32

const derive = promisify(argon2)

/** Hashes a password with Argon2id, off the event loop; a PHC string, which says how it was made. About 20 ms of one core. */
export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(16)
  const hash = await derive('argon2id', {
    message: password,
    nonce,
    memory: MEMORY,
    passes: PASSES,
    parallelism: LANES,
    tagLength: LENGTH,
  })
  return `$argon2id$v=19$m=${MEMORY},t=${PASSES},p=${LANES}$${base64(nonce)}$${base64(hash)}`
}

/** The hash of no password: to verify against it fails, and takes as long as any other. */
export const NOBODY = `$argon2id$v=19$m=${MEMORY},t=${PASSES},p=${LANES}$${base64(Buffer.alloc(16))}$${base64(Buffer.alloc(LENGTH))}`

/** Whether a password is the one that was hashed. Takes as long either way. */
export async function verifyPassword(password: string, phc: string): Promise<boolean> {
  const [, , , parameters = '', nonce = '', expected = ''] = phc.split('$')
  const { m, t, p } = Object.fromEntries(parameters.split(',').map((part) => part.split('='))) as Record<string, string>
  const wanted = Buffer.from(expected, 'base64')
  const hash = await derive('argon2id', {
    message: password,
    nonce: Buffer.from(nonce, 'base64'),
    memory: Number(m),
    passes: Number(t),
    parallelism: Number(p),
    tagLength: wanted.length,
  })
  return timingSafeEqual(hash, wanted)
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
