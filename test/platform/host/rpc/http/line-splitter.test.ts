import fc from 'fast-check'
import t from 'tap'
import { LineSplitter } from '../../../../../src/platform/host/rpc/http/line-splitter.ts'

/** The bytes, cut at some places. */
const pieces = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return places.slice(1).map((place, n) => bytes.subarray(places[n], place))
}

t.test('wherever a text is cut, its lines come out whole and in order', async (t) => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', '').toWellFormed())
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
      const splitter = new LineSplitter(10_000)
      const text = lines.map((line) => `${line}\n`).join('')
      const found = pieces(Buffer.from(text), cuts).flatMap((piece) => splitter.push(piece))
      return JSON.stringify(found) === JSON.stringify(lines)
    }),
  )
  t.pass()
})

t.test('a line that is too long is refused, whether its end has come or not', async (t) => {
  for (const last of ['xx', 'xx\n', 'xx\nnext\n']) {
    const splitter = new LineSplitter(10)
    splitter.push(Buffer.from('good\n'))
    splitter.push(Buffer.from('123456789'))
    t.throws(() => splitter.push(Buffer.from(last)), /longer than 10 bytes/)
  }
  const splitter = new LineSplitter(10)
  splitter.push(Buffer.from('12345678'))
  t.strictSame(splitter.push(Buffer.from('90\nab\ncd')), ['1234567890', 'ab'])
})
