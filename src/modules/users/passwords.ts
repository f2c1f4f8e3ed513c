import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import pLimit from 'p-limit'
import { users as contract } from './contract.ts'

// OWASP's Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes, one lane.
const MEMORY = 19_456
const PASSES = 2
const LANES = 1
const LENGTH = 32

const PARAMETERS = `$argon2id$v=19$m=${MEMORY},t=${PASSES},p=${LANES}$`

// libuv has four threads for all files, names and hashes of a process: at least one is left for the others.
const limit = pLimit(Math.min(3, availableParallelism()))
/** So many may wait for their turn: at most some two seconds. */
const WAITING = 100

const run = promisify(argon2)

/** @throws {Busy} when too many wait already */
async function derive(password: string, nonce: Buffer, cost: { m: number; t: number; p: number }, tagLength: number) {
  if (limit.pendingCount >= WAITING) throw new contract.errors.Busy()
  const { m: memory, t: passes, p: parallelism } = cost
  return limit(() => run('argon2id', { message: password, nonce, memory, passes, parallelism, tagLength }))
}

/**
 * Hashes a password with Argon2id, off the event loop; a PHC string, which says how it was made. About 20 ms of one core.
 *
 * @throws {Busy} when too many wait already
 */
export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(16)
  const hash = await derive(password, nonce, { m: MEMORY, t: PASSES, p: LANES }, LENGTH)
  return `${PARAMETERS}${base64(nonce)}$${base64(hash)}`
}

/** The hash of no password: to verify against it fails, and takes as long as any other. */
export const NOBODY = `${PARAMETERS}${base64(Buffer.alloc(16))}$${base64(Buffer.alloc(LENGTH))}`

/**
 * Whether a password is the one that was hashed. Takes as long either way.
 *
 * @throws {Busy} when too many wait already
 */
export async function verifyPassword(password: string, phc: string): Promise<boolean> {
  const [, , , parameters = '', nonce = '', expected = ''] = phc.split('$')
  const { m, t, p } = Object.fromEntries(parameters.split(',').map((part) => part.split('='))) as Record<string, string>
  const wanted = Buffer.from(expected, 'base64')
  const cost = { m: Number(m), t: Number(t), p: Number(p) }
  return timingSafeEqual(await derive(password, Buffer.from(nonce, 'base64'), cost, wanted.length), wanted)
}

/** Whether a password was hashed with less (or other) effort than today. */
export const isOutdated = (phc: string): boolean => !phc.startsWith(PARAMETERS)

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
