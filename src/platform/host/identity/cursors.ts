import { createHmac, timingSafeEqual } from 'node:crypto'
import { BadInput } from '../../kit/errors.ts'
import type { Cursors } from '../../kit/pages.ts'
import { keyFor } from './tokens.ts'

/** Cursors for the pages of one module: the position and 16 bytes of HMAC-SHA-256, in base64url. */
export function signedCursors(secret: string, module: string): Cursors {
  const key = keyFor(secret, `cursors of ${module}`)
  const seal = (position: Buffer) => createHmac('sha256', key).update(position).digest().subarray(0, 16)
  return {
    sign(position) {
      const bytes = Buffer.from(position)
      return Buffer.concat([seal(bytes), bytes]).toString('base64url')
    },
    read(cursor) {
      const bytes = Buffer.from(cursor, 'base64url')
      const position = bytes.subarray(16)
      // base64url can be written in several ways; a cursor in one.
      const canonical = bytes.length >= 16 && bytes.toString('base64url') === cursor
      if (!canonical || !timingSafeEqual(bytes.subarray(0, 16), seal(position))) {
        throw new BadInput(module, [{ path: '/query/cursor', message: 'was not made by this API' }])
      }
      return position.toString()
    },
  }
}
