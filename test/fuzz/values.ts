import fc, { type Arbitrary } from 'fast-check'

/** Texts on which programs have failed before. */
const TEXTS = [
  '',
  ' ',
  '\t\n',
  '\0',
  'a\0b',
  '\u007f\u0001\u001b[31m',
  '\ufeff',
  '\uffff\ufffe',
  '\u202eabc\u2066',
  '\u2028\u2029',
  'Z\u0310\u0353a\u0301\u0489\u0334',
  '👩‍👩‍👧‍👦🏳️‍🌈',
  'ﷺ ẞ ı İ ﬃ',
  '\ud83d',
  '\udc00\ud83d',
  "' or 1=1 --",
  "'; drop table users.users; --",
  '\\',
  '%_%\\',
  "a & | ! (b <-> :* '",
  '(a+)+$',
  '$1 {{7*7}} #{7*7} <%= 7*7 %>',
  '<script>alert(1)</script>',
  '../../../../etc/passwd',
  '..\\..\\x',
  '%00%0a%zz',
  'x\r\nBcc: evil@example.com',
  '$(id) `id` | id',
  'file:///etc/passwd',
  'http://127.0.0.1:1/',
  'http://[::ffff:127.0.0.1]:1/',
  '__proto__',
  'constructor',
  'toString',
  'null',
  'undefined',
  'NaN',
  'true',
  '-1',
  '0x10',
  '1e999',
  '99999999999999999999',
  '2026-02-30T25:61:61Z',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '{00000000-0000-7000-8000-000000000000}',
  'urn:uuid:01900000-0000-7000-8000-000000000000',
]

/** Any text at all, half of a surrogate pair and all. */
export const anyText: Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom('x', ' ', 'é', '漢', '😀', '\u0301', '"', '\\'), fc.constantFrom(300, 3_000, 30_000))
      .map(([letter, times]) => letter.repeat(times)),
  },
)

const MIB = 1024 * 1024
const nested = (open: string, close: string, times = 10_000) => `${open.repeat(times)}1${close.repeat(times)}`

/** Raw JSON, and what looks like it: some of these stand for a value and bring keys of their own along. */
const JSON_TEXTS = [
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e999',
  '-1e999',
  '1e-999',
  '9007199254740993',
  '9'.repeat(400),
  '""',
  '"\\u0000"',
  '"\\ud83d"',
  '"\\udc00\\ud83d"',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '{"$ne":null}',
  '{"toString":1,"valueOf":2,"hasOwnProperty":3}',
  '{"then":1,"toJSON":2}',
  '{"length":1e9}',
  '{"__proto__":{"roles":["admin"]}}',
  '{"\\u005f_proto__":{"roles":["admin"]}}',
  '{"constructor":{"prototype":{"roles":["admin"]}}}',
  '1,"__proto__":{"roles":["admin"]}',
  '1,"constructor":{"prototype":{"a":1}}',
  '1,"a":1,"a":2',
  '"once","":1',
  nested('[', ']'),
  nested('{"a":', '}'),
  '['.repeat(100_000),
  `[${'0,'.repeat(50_000)}0]`,
  `{${Array.from({ length: 5_000 }, (_, n) => `"k${n}":${n}`).join()}}`,
  `"${'x'.repeat(300_000)}"`,
  'NaN',
  'Infinity',
  'undefined',
  '01',
  '.5',
  '1.',
  '+1',
  '0x10',
  "'single'",
  '"not ended',
  '"\\x41"',
  '"\\u12"',
  '"a raw\ttab"',
  '/* a comment */ 1',
  '1 2',
  ',',
  '',
]

/** What may stand in the place of a JSON value, as it is sent. */
export const anyJson: Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...JSON_TEXTS) },
  { weight: 4, arbitrary: anyText.map((text) => JSON.stringify(text)) },
  { weight: 2, arbitrary: fc.json({ maxDepth: 3 }) },
)

/** A member of an object, as it is sent. */
export const anyMember: Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(
        '__proto__',
        'constructor',
        'prototype',
        'id',
        'roles',
        'authorId',
        'userId',
        'version',
        '',
        'a\0',
      ),
      anyText,
    ),
    anyJson,
  )
  .map(([key, value]) => `${JSON.stringify(key)}:${value}`)

/** A whole body, whatever a route expects. The largest is more than is read of any. */
export const anyBody: Arbitrary<Buffer> = fc.oneof(
  { weight: 6, arbitrary: anyJson.map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(
        '\ufeff{}',
        '{"a":1}{"b":2}',
        'a=1&b=2',
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
        '\u001f\u008b\b',
      )
      .map((text) => Buffer.from(text)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(' '.repeat(MIB + 1), `"${'x'.repeat(MIB)}"`).map((text) => Buffer.from(text)),
  },
)

/** Percent-encodes every other letter, which changes nothing of what is meant. */
const oddlyEncoded = (text: string) =>
  text.replace(/[\x21-\x7e]/g, (letter, at: number) =>
    at % 2 === 0 ? `%${letter.charCodeAt(0).toString(16).padStart(2, '0')}` : letter,
  )

const RAW = [
  '%',
  '%4',
  '%zz',
  '%00',
  '%0d%0a',
  '%2f',
  '%5c',
  '%2e%2e',
  '%252e',
  '%ff%fe',
  '%c0%af',
  '%ED%A0%80',
  '%F0%9F%98%80',
  '%u0041',
  '+',
  '..',
  '.',
  '\\',
  ';x=1',
  '*',
  '#x',
  '\u00ff\u0080',
  '"<>^`{|}',
]

/** What may stand in an address, raw: encoded oddly, not at all, or wrongly. */
export const anyRaw: Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...RAW) },
  { weight: 3, arbitrary: anyText.map((text) => encodeURIComponent(text.toWellFormed())) },
  { weight: 1, arbitrary: anyText.map((text) => oddlyEncoded(encodeURIComponent(text.toWellFormed()))) },
)

/** What may follow a path. */
export const anyTail: Arbitrary<string> = fc.oneof(
  fc.constantFrom('/', '//', '/.', '/..', '/../', '/%2e%2e/users', '/..;/x', '/x', '%20', '.json', '/__proto__'),
  anyRaw,
)

/** A parameter of the query: one that the operation knows, or one that it does not, once or many times, alone or in brackets. */
export const anyParameter = (known: readonly string[]): Arbitrary<string> => {
  const names = [...known, '__proto__', 'constructor', 'toString', 'sort', '', '%00', '%']
  const forms = ['', '[]', '[0]', '[$ne]', '[__proto__][a]', '.a']
  return fc
    .record({
      name: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: anyRaw }),
      form: fc.oneof({ weight: 4, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.constantFrom(...forms) }),
      value: anyRaw.map((value) => `=${value}`),
      bare: fc.boolean(),
      times: fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom(1, 1, 1, 2) },
        { weight: 1, arbitrary: fc.constant(1_500) },
      ),
    })
    .map(({ name, form, value, bare, times }) => {
      const one = `${name}${form}${bare ? '' : value}`
      return Array(Math.max(1, Math.min(times, Math.floor(12_000 / (one.length + 1)))))
        .fill(one)
        .join('&')
    })
}

const HEADERS: Record<string, string[]> = {
  accept: [
    'text/html',
    'application/json;q=0',
    '*/*;q=0',
    'application/*',
    'a/b;q=9',
    ',,;',
    'application/problem+json',
    'text/event-stream',
  ],
  'accept-encoding': ['gzip', 'br', 'gzip;q=0, *;q=1', 'identity;q=0, *;q=0', 'br;q=x', '*', ',;,'],
  'accept-language': ['x-'.repeat(500)],
  'access-control-request-method': ['DELETE'],
  authorization: [
    'Bearer ',
    'Bearer a.b.c',
    'Bearer eyJhbGciOiJub25lIn0.e30.',
    'Bearer eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA',
    'Basic Og==',
    'Digest username="a"',
    'bearer x',
  ],
  cookie: [
    'sid=',
    'sid=%00',
    'sid=x.y',
    'sid=%zz; sid=a',
    '=;=;',
    'sid="a',
    '__proto__=1; sid=__proto__',
    `sid=${'x'.repeat(5_000)}`,
  ],
  'content-type': [
    'application/json; charset=utf-16',
    'application/json; charset=',
    'application/json;',
    'APPLICATION/JSON',
    'application/json, text/plain',
    'application/vnd.api+json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'multipart/form-data',
    'text/plain',
    'application/xml',
    'application',
    ';',
  ],
  'content-encoding': ['gzip', 'br', 'deflate, gzip', 'identity'],
  forwarded: ['for="[::1]:x";host=evil.example'],
  host: ['evil.example', '127.0.0.1:0', '[', 'a b'],
  'idempotency-key': ['one', 'two', 'with a space', 'x'.repeat(256), '"'],
  'if-match': ['*', '"', 'W/"1"', '"1", "2",', '1', '"é"', ','.repeat(2_000)],
  'if-none-match': ['*', '"', 'W/"1"', '"1", "2",', '1', ','.repeat(2_000)],
  'last-event-id': ['-1', '1.5', 'x', '9'.repeat(400), '9007199254740992', ''],
  origin: ['null', 'https://evil.example', 'http://', 'not a url'],
  range: ['bytes=0-', 'bytes=9-1'],
  referer: ['https://evil.example/'],
  'sec-fetch-site': ['cross-site', 'same-origin', ''],
  traceparent: ['00-0-0-0', `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`, `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`],
  tracestate: ['a=b,'.repeat(600)],
  'user-agent': ['', 'é'.repeat(100), 'x'.repeat(5_000)],
  'x-forwarded-for': ['127.0.0.1', 'x, y', '::', '999.1.1.1'],
  'x-forwarded-host': ['evil.example', '['],
  'x-forwarded-proto': ['javascript', 'https'],
  'x-http-method-override': ['DELETE'],
  'x-request-id': ['a b', 'x'.repeat(129), '__proto__', '{"a":1}', 'ok-1'],
  'x-seam-identity': ['{}', 'a.b.c'],
  'x-seam-service': ['posts', 'a.b.c'],
  'x-seam-timeout': ['1', '-1', '1e999', 'x'],
}

/** What a client can put in a header: Latin-1 without control characters. The last is more than is read of all headers. */
const headerText = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom('', '*', '-1', 'null', '__proto__', '"', '\u00ff\u0080', '\t x', '<x>', '%00', ';,=;'),
  },
  {
    weight: 4,
    arbitrary: fc
      .array(fc.integer({ min: 0x20, max: 0xff }), { maxLength: 60 })
      .map((codes) => String.fromCharCode(...codes.filter((code) => code !== 0x7f))),
  },
  { weight: 1, arbitrary: fc.constantFrom('x'.repeat(8_000), 'x'.repeat(17_000)) },
)

/** A header with a value that makes no sense, or another than was meant. */
export const anyHeader = (known: readonly string[]): Arbitrary<[name: string, value: string]> => {
  const names = [...new Set([...Object.keys(HEADERS), ...known.map((name) => name.toLowerCase())])]
  return fc
    .constantFrom(...names)
    .chain((name) =>
      fc.tuple(
        fc.constant(name),
        fc.oneof(
          { weight: 3, arbitrary: fc.constantFrom(...(HEADERS[name] ?? [''])) },
          { weight: 1, arbitrary: headerText },
        ),
      ),
    )
}
