import { createHash } from 'node:crypto'
import { BadInput } from '../../platform/kit/errors.ts'
import type { Cursors } from '../../platform/kit/pages.ts'

/**
 * Cursors that are good for one list only: for what was asked, in whatever order the parameters came.
 *
 * @throws {BadInput} from `read`, for a cursor of another list
 * @example scopedCursors(app.cursors, 'posts', { tag, q })
 */
export function scopedCursors(
  cursors: Cursors,
  list: string,
  filter: Record<string, string | undefined> = {},
): Cursors {
  const asked = Object.entries(filter).filter(([, value]) => value !== undefined)
  const scope = createHash('sha256')
    .update(JSON.stringify([list, asked.sort()]))
    .digest('base64url')
    .slice(0, 11)
  return {
    sign: (position) => cursors.sign(scope + position),
    read(cursor) {
      const position = cursors.read(cursor)
      if (!position.startsWith(scope))
        throw new BadInput('posts', [{ path: '/query/cursor', message: 'is of another list' }])
      return position.slice(scope.length)
    },
  }
}
