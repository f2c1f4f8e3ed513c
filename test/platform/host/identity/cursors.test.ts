import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { signedCursors } from '../../../../src/platform/host/identity/cursors.ts'
import { BadInput } from '../../../../src/platform/kit/errors.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const cursors = signedCursors(SECRET, 'posts')

const refuses = (cursor: string) =>
  assert.throws(
    () => cursors.read(cursor),
    (error) => {
      assert(error instanceof BadInput)
      assert.equal(error.module, 'posts')
      assert.deepEqual(error.details?.errors, [{ path: '/query/cursor', message: 'was not made by this API' }])
      return true
    },
  )

t.test('any position comes back as it was', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (position) => {
      const cursor = cursors.sign(position)
      assert.match(cursor, /^[\w-]+$/)
      assert.equal(cursors.read(cursor), position)
    }),
  )
  t.equal(cursors.read(cursors.sign('')), '')
})

t.test('a cursor of an id is short enough for the query of a page', async (t) => {
  t.ok(cursors.sign('01890000-0000-7000-8000-000000000001').length < 100)
})

t.test('any flipped bit is refused', async (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), fc.nat(), (position, nth) => {
      const bytes = Buffer.from(cursors.sign(position), 'base64url')
      const bit = nth % (bytes.length * 8)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      refuses(bytes.toString('base64url'))
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('there is one way to write a cursor: any other character, missing or added, is refused', async (t) => {
  const cursor = cursors.sign('position')
  for (let place = 0; place < cursor.length; place++) {
    for (const char of ['A', 'B', 'x', '_', '-', '+', '/', '=', ' ', '.'])
      if (char !== cursor[place]) refuses(cursor.slice(0, place) + char + cursor.slice(place + 1))
  }
  for (let length = 0; length < cursor.length; length++) refuses(cursor.slice(0, length))
  for (const more of ['A', '=', ' ', '\n', '.', '!', cursor]) {
    refuses(cursor + more)
    refuses(more + cursor)
  }
  t.pass()
})

t.test('anything made up is refused', async (t) => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), refuses))
  fc.assert(fc.property(fc.base64String(), refuses))
  t.pass()
})

t.test('a cursor of another module, or of another system, is refused', async (t) => {
  refuses(signedCursors(SECRET, 'users').sign('1'))
  refuses(signedCursors('another secret, which is also of enough length', 'posts').sign('1'))
  t.equal(signedCursors(SECRET, 'posts').read(cursors.sign('1')), '1', 'another replica reads it')
})
