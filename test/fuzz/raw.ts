import fc, { type Arbitrary } from 'fast-check'
import type { Request } from './requests.ts'

/** What is put into the bytes of a request, somewhere. */
const INSERTED = [
  '',
  '\0',
  ' ',
  ':',
  '\r\n',
  '\n',
  '\r\n\r\n',
  '\u00ff',
  'x'.repeat(20_000),
  '\r\ncontent-length: 3',
  '\r\ncontent-length: -1',
  '\r\ntransfer-encoding: chunked',
  '\r\ntransfer-encoding: gzip, chunked',
  '\r\nexpect: 100-continue',
  '\r\nexpect: the worst',
  '\r\nupgrade: websocket\r\nconnection: upgrade',
  '\r\nconnection: x-request-id',
  '\r\nhost: b',
  '\r\nhost: [',
  '\r\n folded: header',
  '\r\nx-request-id: a\r\nx-request-id: b',
  '\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n',
]

const VERSIONS = ['1.1', '1.1', '1.1', '1.1', '1.0', '0.9', '2.0', '9.9']

/** Something is taken out of the bytes of a request, and something else put in. */
interface Edit {
  /** Where: a part of the head, or the end of its first line. */
  part: number
  firstLine: boolean
  remove: number
  insert: string
}

/** What is done to the bytes of a request. */
export interface Edits {
  version: string
  edits: Edit[]
}

export const anyEdits: Arbitrary<Edits> = fc.record({
  version: fc.constantFrom(...VERSIONS),
  edits: fc.array(
    fc.record({
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      firstLine: fc.boolean(),
      remove: fc.constantFrom(0, 0, 0, 1, 5),
      insert: fc.constantFrom(...INSERTED),
    }),
    { maxLength: 3 },
  ),
})

/** A request as bytes, and no HTTP any more, or other HTTP than was meant. */
export function edited({ method, path, headers, body = Buffer.alloc(0) }: Request, { version, edits }: Edits): Buffer {
  const lines = [
    `${method} ${path} HTTP/${version}`,
    'host: fuzz.invalid',
    'connection: close',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    `content-length: ${body.length}`,
  ]
  let head = `${lines.join('\r\n')}\r\n\r\n`
  for (const { part, firstLine, remove, insert } of edits) {
    const at = firstLine ? Math.max(0, head.indexOf('\r\n')) : Math.floor(head.length * part)
    head = head.slice(0, at) + insert + head.slice(at + remove)
  }
  return Buffer.concat([Buffer.from(head, 'latin1'), body])
}
