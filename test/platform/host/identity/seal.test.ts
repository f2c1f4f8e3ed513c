import fc from 'fast-check'
import t from 'tap'
import { sealFor } from '../../../../src/platform/host/identity/seal.ts'

const SECRET = 'a secret that only these tests know, of enough length'
const seal = sealFor(SECRET, 'tests')

t.test('any text opens again for its context, and for no other', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.string(), (text, context, other) => {
      fc.pre(text.isWellFormed() && context !== other)
      const sealed = seal.close(text, context)
      if (seal.open(sealed, context) !== text) return false
      try {
        seal.open(sealed, other)
        return false
      } catch {
        return true
      }
    }),
  )
  t.equal(seal.open(seal.close('', ''), ''), '', 'no text is a text')
})

t.test('nothing of the text can be seen, nor that two texts are the same', async (t) => {
  const [one, two] = [seal.close('hunter2 hunter2', 'a'), seal.close('hunter2 hunter2', 'a')]
  t.not(one, two)
  t.notMatch(Buffer.from(one, 'base64url').toString('latin1'), 'hunter2')
})

t.test('what was sealed under another secret or for another purpose does not open', async (t) => {
  const sealed = seal.close('text', 'a')
  t.throws(() => sealFor(`${SECRET}!`, 'tests').open(sealed, 'a'))
  t.throws(() => sealFor(SECRET, 'other tests').open(sealed, 'a'))
})

t.test('what was changed, cut or made up does not open', async (t) => {
  const sealed = Buffer.from(seal.close('some text', 'a'), 'base64url')
  for (let n = 0; n < sealed.length; n++) {
    const changed = Buffer.from(sealed)
    changed[n]! ^= 1
    t.throws(() => seal.open(changed.toString('base64url'), 'a'), `byte ${n} changed`)
    t.throws(() => seal.open(sealed.subarray(0, n).toString('base64url'), 'a'), `only ${n} bytes`)
  }
  for (const text of ['', 'x', 'not sealed at all', '{}']) t.throws(() => seal.open(text, 'a'), text)
})
