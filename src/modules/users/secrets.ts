import { createHash, randomBytes } from 'node:crypto'

/** A token that nobody can guess: 32 random bytes, 43 letters. Keep its {@link hashOf} only. */
export const newToken = (): string => randomBytes(32).toString('base64url')

/** What is kept of a token. It is random, so one pass of SHA-256 is enough, and one can look it up. */
export const hashOf = (token: string): string => createHash('sha256').update(token).digest('base64url')
