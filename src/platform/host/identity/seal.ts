import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { keyFor } from './tokens.ts'

/** Keeps text so that only this system can read it, and nobody can change it. */
export interface Seal {
  /** @param context what the text belongs to; it opens for the same context only */
  close(text: string, context: string): string
  /** @throws {Error} when it was not sealed under this secret and for this context */
  open(sealed: string, context: string): string
}

/** AES-256-GCM under a key of its own for each purpose; base64url of nonce, tag and ciphertext. */
export function sealFor(secret: string, purpose: string): Seal {
  const key = keyFor(secret, `seal: ${purpose}`)
  return {
    close(text, context) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')
    },
    open(sealed, context) {
      const bytes = Buffer.from(sealed, 'base64url')
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 })
      decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(12, 28))
      return decipher.update(bytes.subarray(28), undefined, 'utf8') + decipher.final('utf8')
    },
  }
}
