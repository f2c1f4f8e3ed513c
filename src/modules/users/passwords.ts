import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import pLimit from 'p-limit'
import { users as contract } from './contract.ts'

// OWASP's Password Storage Cheat Sheet: Argon2id with 19 MiB, two passes, one lane.
/** In KiB. A hash takes about 20 ms of one core. */
export const OWASP_MEMORY = 19_456
const PASSES = 2
const LANES = 1
const LENGTH = 32

/** So many may wait for their turn: at most some two seconds. */
const WAITING = 100

const run = promisify(argon2)

interface Cost {
  m: number
  t: number
  p: number
}

/** Hashes passwords with Argon2id, off the event loop, few at a time; a hash is a PHC string, which says how it was made. */
export class Passwords {
  /** The hash of no password: to verify against it fails, and takes as long as any other. */
  readonly nobody: string
  readonly #cost: Cost
  readonly #parameters: string
  // libuv has four threads for all files, names and hashes of a process: at least one is left for the others.
  readonly #limit = pLimit(Math.min(3, availableParallelism()))

  /** @param memory of each hash, in KiB */
  constructor(memory: number) {
    this.#cost = { m: memory, t: PASSES, p: LANES }
    this.#parameters = `$argon2id$v=19$m=${memory},t=${PASSES},p=${LANES}$`
    this.nobody = `${this.#parameters}${base64(Buffer.alloc(16))}$${base64(Buffer.alloc(LENGTH))}`
  }

  /** @throws {Busy} when too many wait already */
  async hash(password: string): Promise<string> {
    const nonce = randomBytes(16)
    const hash = await this.#derive(password, nonce, this.#cost, LENGTH)
    return `${this.#parameters}${base64(nonce)}$${base64(hash)}`
  }

  /**
   * Whether a password is the one that was hashed. Takes as long either way.
   *
   * @throws {Busy} when too many wait already
   */
  async verify(password: string, phc: string): Promise<boolean> {
    const [, , , parameters = '', nonce = '', expected = ''] = phc.split('$')
    const cost = Object.fromEntries(parameters.split(',').map((part) => part.split('='))) as Record<keyof Cost, string>
    const wanted = Buffer.from(expected, 'base64')
    const numbers = { m: Number(cost.m), t: Number(cost.t), p: Number(cost.p) }
    return timingSafeEqual(await this.#derive(password, Buffer.from(nonce, 'base64'), numbers, wanted.length), wanted)
  }

  /** Whether a password was hashed with less (or other) effort than now. */
  isOutdated(phc: string): boolean {
    return !phc.startsWith(this.#parameters)
  }

  async #derive(password: string, nonce: Buffer, { m, t, p }: Cost, tagLength: number): Promise<Buffer> {
    if (this.#limit.pendingCount >= WAITING) throw new contract.errors.Busy()
    const parameters = { message: password, nonce, memory: m, passes: t, parallelism: p, tagLength }
    return this.#limit(() => run('argon2id', parameters))
  }
}

function base64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
