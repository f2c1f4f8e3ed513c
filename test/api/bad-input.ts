import { createConnection } from 'node:net'
import { createSigner } from 'fast-jwt'
import type { Test } from 'tap'
import { keyFor, systemTokens } from '../../src/platform/host/identity/tokens.ts'
import { type Api, type Ask, refusalOf, type User, wanted } from './client.ts'

interface Case {
  method?: string
  path: string
  ask?: Ask
  status: number
  code: string
  module: string
  /** The pointers of all faults, where the answer lists them. */
  faults?: string[]
}

const JSON_TYPE = { 'content-type': 'application/json' }
const MIB = 1024 * 1024
const ID = '01900000-0000-7000-8000-000000000000'

/** Input that is refused, with the one answer that it gets in every placement. */
export async function badInput(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const tables = {
    bodies: bodies(ada),
    'POST /api/posts': newPosts(ada),
    'POST /api/auth': accounts(ada),
    paths: paths(),
    queries: queries(ada),
    tokens: tokens(api, ada),
  }
  for (const [name, table] of Object.entries(tables)) {
    await t.test(name, async (t) => {
      for (const [what, { method = 'GET', path, ask, faults: expectedFaults, ...expected }] of Object.entries(table)) {
        const answer = await api.send(method, path, ask)
        const faults = answer.body?.errors?.map((fault: { path: string }) => fault.path)
        t.strictSame(
          { ...refusalOf(answer), ...(expectedFaults && { faults: [...new Set(faults)].sort() }) },
          {
            ...wanted({ ...expected, path: path.split('?', 1)[0]! }),
            ...(expectedFaults && { faults: expectedFaults.toSorted() }),
          },
          what,
        )
      }
    })
  }

  await t.test('what is no HTTP request gets a problem, too, and the connection is closed', async (t) => {
    const requests = {
      'a very long address': [
        `GET /api/posts?tag=${'x'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
        431,
        'HeadersTooLarge',
      ],
      'a very large header': [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HeadersTooLarge'],
      'no HTTP at all': ['HELO mail.example.com\r\n\r\n', 400, 'BadInput'],
      'another method': ['BREW / HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'BadInput'],
      'a raw null byte in the path': ['GET /api/posts/\0 HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'BadInput'],
      'a letter in the path that is not ASCII': ['GET /api/posts/\u00e9 HTTP/1.1\r\nhost: x\r\n\r\n', 400, 'BadInput'],
      'a raw null byte in a header': ['GET / HTTP/1.1\r\nhost: x\r\nx: \0\r\n\r\n', 400, 'BadInput'],
      'two lengths': [
        'POST /api/posts HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx',
        400,
        'BadInput',
      ],
      'a length and chunks': [
        'POST /api/posts HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
        'BadInput',
      ],
    } as const
    for (const [what, [text, status, code]] of Object.entries(requests)) {
      const answer = await exchange(api.target.url, text)
      const [head = '', body = ''] = answer.split('\r\n\r\n')
      t.match(head, new RegExp(`^HTTP/1.1 ${status} `), what)
      t.match(head, /^content-type: application\/problem\+json\r?$/im)
      const problem = JSON.parse(body)
      t.match(problem, {
        type: `urn:seam:seam:${code}`,
        status,
        code,
        module: 'seam',
        title: /./,
        detail: /./,
        instance: '',
      })
      t.match(head, `x-request-id: ${problem.requestId}`)
    }
  })

  await t.test('a request that names no host gets a problem, unless it is of a time when none did', async (t) => {
    const answer = await exchange(api.target.url, 'GET /api/posts HTTP/1.1\r\nconnection: close\r\n\r\n')
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    t.match(head, /^HTTP\/1.1 400 /)
    t.match(head, /^content-type: application\/problem\+json\r?$/im)
    t.match(JSON.parse(body), {
      code: 'BadInput',
      module: 'seam',
      instance: '/api/posts',
      errors: [{ path: '/header/host', message: 'is missing' }],
    })
    t.match(await exchange(api.target.url, 'GET /api/posts HTTP/1.0\r\n\r\n'), /^HTTP\/1.1 200 /)
  })

  await t.test('what a request expects is not looked at', async (t) => {
    const answer = await exchange(
      api.target.url,
      'GET /api/posts?limit=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: the worst\r\n\r\n',
    )
    t.match(answer, /^HTTP\/1.1 200 /)
  })

  await t.test('an address may have scheme and host before it', async (t) => {
    const { email, password } = await api.register('Whole')
    const json = JSON.stringify({ email, password })
    const head = `host: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${json.length}`
    const login = await exchange(
      api.target.url,
      `POST ${api.target.url}/api/auth/login HTTP/1.1\r\n${head}\r\n\r\n${json}`,
    )
    t.match(login, /^HTTP\/1.1 200 /)
    t.match(login, /^set-cookie: sid=/im)
    const ask = (target: string) =>
      exchange(api.target.url, `GET ${target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)
    t.match(await ask('HTTPS://x/api/posts?limit=1'), /^HTTP\/1.1 200 /)
    t.match(await ask('http://x/api/nowhere'), /"instance":"\/api\/nowhere"/)
    t.match(await ask('http://x'), /"instance":"\/"/)
  })

  await t.test('a body that comes with a GET is not looked at', async (t) => {
    for (const body of ['{"a":', '{}']) {
      const answer = await exchange(
        api.target.url,
        `GET /api/posts?limit=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      )
      t.match(answer, /^HTTP\/1.1 200 /)
    }
  })

  await t.test('after all that it still works', async (t) => {
    const answer = await api.post('/api/posts', { title: 'Still here', content: 'Words.' }, { token: ada.token })
    t.equal(answer.status, 201)
    const { body } = await api.get('/api/health')
    t.equal(body.status, 'healthy')
  })

  await t.test('of a key that is there twice the last counts', async (t) => {
    const body = '{"title":"First","content":"Words.","title":"Last"}'
    const answer = await api.send('POST', '/api/posts', { token: ada.token, headers: JSON_TYPE, body })
    t.match([answer.status, answer.body.data.title], [201, 'Last'])
  })
}

/** Sends bytes as they are and resolves with all that comes back until the connection is closed. */
function exchange(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = createConnection(Number(port), hostname, () => socket.write(text, 'latin1'))
    socket.setTimeout(15_000, () => socket.destroy(new Error('The connection is not closed.')))
    socket.setEncoding('utf8')
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
  })
}

/** A body in two chunks, so that its length is not known beforehand. */
async function* chunks(...parts: string[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

const filler = (bytes: number) => `{"title":"Large","content":"${'x'.repeat(bytes)}"}`

function bodies({ token }: User): Record<string, Case> {
  const bad = (body: Ask['body'], headers: Record<string, string> = JSON_TYPE): Case => ({
    method: 'POST',
    path: '/api/posts',
    ask: { token, headers, ...(body !== undefined && { body }) },
    status: 400,
    code: 'BadInput',
    module: 'posts',
  })
  const unsupported = { status: 415, code: 'UnsupportedMediaType' }
  const tooLarge = { status: 413, code: 'PayloadTooLarge' }
  const good = '{"title":"T","content":"C"}'
  return {
    'no JSON at all': bad('title=T&content=C'),
    'JSON that ends too early': bad('{"title":"T","content":'),
    'JSON and something behind it': bad(`${good}}`),
    'JSON with a comma too many': bad('{"title":"T","content":"C",}'),
    'JSON with a raw line break in a string': bad('{"title":"T\n","content":"C"}'),
    'JSON with a raw null byte in a string': bad('{"title":"T\0","content":"C"}'),
    'bytes that are not UTF-8 where the JSON is broken by them': bad(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
    'an empty body': bad('', { ...JSON_TYPE, 'content-length': '0' }),
    'no body': bad(undefined),
    'white space': bad('  \n '),
    'a byte order mark alone': bad('\uFEFF'),
    null: bad('null'),
    'a string': bad('"title"'),
    'a number': bad('1e309'),
    'an array': bad(`[${good}]`),
    'an array in an array, ten thousand times': bad(`${'['.repeat(10_000)}${']'.repeat(10_000)}`),
    'an object in an object, ten thousand times': bad(`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`),
    'deep nesting in a field': bad(`{"title":${'['.repeat(10_000)}${']'.repeat(10_000)},"content":"C"}`),
    'a million brackets that nobody closes': bad('['.repeat(1_000_000)),
    'the key __proto__': bad('{"title":"T","content":"C","__proto__":{"status":"draft"}}'),
    'the key __proto__, escaped': bad('{"title":"T","content":"C","\\u005f_proto__":{"status":"draft"}}'),
    'the keys constructor.prototype': bad('{"title":"T","content":"C","constructor":{"prototype":{"a":1}}}'),
    'a form': { ...bad('title=T&content=C', { 'content-type': 'application/x-www-form-urlencoded' }), ...unsupported },
    'a form with parts': { ...bad('--x--', { 'content-type': 'multipart/form-data; boundary=x' }), ...unsupported },
    XML: { ...bad('<post/>', { 'content-type': 'application/xml' }), ...unsupported },
    'JSON that says it is text': { ...bad(good, { 'content-type': 'text/plain' }), ...unsupported },
    'JSON of a kind of its own': { ...bad(good, { 'content-type': 'application/vnd.seam+json' }), ...unsupported },
    'a content type that is none': { ...bad(good, { 'content-type': 'nonsense' }), ...unsupported },
    'a body without a content type': { ...bad(good, {}), ...unsupported },
    'a body without a content type, in chunks': { ...bad(chunks(good), {}), ...unsupported },
    'a body that is too large': { ...bad(filler(MIB)), ...tooLarge },
    'a body that is much too large': { ...bad(filler(3 * MIB)), ...tooLarge },
    'a body that is too large, in chunks': { ...bad(chunks(filler(MIB - 100), ' '.repeat(200))), ...tooLarge },
    'a body that is much too large, in chunks': { ...bad(chunks(...Array(24).fill(' '.repeat(MIB / 8)))), ...tooLarge },
    'a body that is too large, of a type that is not known': {
      ...bad('x'.repeat(MIB + 1), { 'content-type': 'text/plain' }),
      ...tooLarge,
    },
  }
}

function newPosts({ token }: User): Record<string, Case> {
  const bad = (json: unknown, ...faults: string[]): Case => ({
    method: 'POST',
    path: '/api/posts',
    ask: { token, json },
    status: 400,
    code: 'BadInput',
    module: 'posts',
    faults: faults.map((fault) => `/body${fault}`),
  })
  const raw = (body: string, ...faults: string[]): Case => ({
    ...bad(undefined, ...faults),
    ask: { token, headers: JSON_TYPE, body },
  })
  const post = { title: 'T', content: 'C' }
  return {
    'everything is missing': bad({}, '/title', '/content'),
    'one thing is missing': bad({ title: 'T' }, '/content'),
    'all types are wrong': bad(
      { title: 1, content: [], tags: 'a', status: 7 },
      '/title',
      '/content',
      '/tags',
      '/status',
    ),
    'numbers are no texts': bad({ ...post, title: 42 }, '/title'),
    'null is no text': bad({ ...post, content: null }, '/content'),
    'an object is no text': bad({ ...post, title: { toString: 'x' } }, '/title'),
    'a field that nobody knows': bad({ ...post, authorId: ID }, '/authorId'),
    'a field that the platform sets': bad({ ...post, id: ID, createdAt: '2020-01-01T00:00:00Z' }, '/id', '/createdAt'),
    'a field in the wrong letter case': bad({ ...post, Title: 'T' }, '/Title'),
    'an empty title': bad({ ...post, title: '' }, '/title'),
    'a title of white space': bad({ ...post, title: ' \t\n\u00a0\u2003' }, '/title'),
    'a title that is too long': bad({ ...post, title: 'x'.repeat(201) }, '/title'),
    'a content that is too long': bad({ ...post, content: 'x'.repeat(100_001) }, '/content'),
    'an empty content': bad({ ...post, content: '' }, '/content'),
    'a status that does not exist': bad({ ...post, status: 'deleted' }, '/status'),
    'too many tags': bad({ ...post, tags: Array.from({ length: 21 }, (_, n) => `t${n}`) }, '/tags'),
    'a tag twice': bad({ ...post, tags: ['a', 'b', 'a'] }, '/tags'),
    'a tag that is too long': bad({ ...post, tags: ['a', 'x'.repeat(51)] }, '/tags/1'),
    'an empty tag': bad({ ...post, tags: [''] }, '/tags/0'),
    'tags with characters that no tag has': bad(
      { ...post, tags: ['a,b', '<b>', ' a', '-a'] },
      '/tags/0',
      '/tags/1',
      '/tags/2',
      '/tags/3',
    ),
    'tags that are no texts': bad({ ...post, tags: [1, null, {}] }, '/tags/0', '/tags/1', '/tags/2'),
    'a null character in the title': bad({ ...post, title: 'a\0b' }, '/title'),
    'null characters everywhere': bad({ title: '\0', content: 'a\0' }, '/title', '/content'),
    'a null character in a tag': bad({ ...post, tags: ['a\0'] }, '/tags/0'),
    'a null character in a key': bad({ ...post, 'a\0': 1 }, '/a\0'),
    'half a surrogate pair in the title': raw('{"title":"a\\ud83d","content":"C"}', '/title'),
    'the other half': raw('{"title":"T","content":"\\udc00x"}', '/content'),
    'a pair in the wrong order': raw('{"title":"\\udc00\\ud83d","content":"C"}', '/title'),
    'more faults than anybody reads': { ...bad({ ...post, tags: Array(150_000).fill(1) }), faults: undefined as never },
    'more unknown fields than anybody reads': {
      ...bad({ ...post, ...Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`f${n}`, n])) }),
      faults: undefined as never,
    },
    'a field with a very long name': { ...bad({ ...post, ['n'.repeat(500_000)]: 1 }), faults: undefined as never },
  }
}

function accounts({ email }: User): Record<string, Case> {
  const bad = (path: string, json: unknown, ...faults: string[]): Case => ({
    method: 'POST',
    path,
    ask: { json },
    status: 400,
    code: 'BadInput',
    module: 'users',
    faults: faults.map((fault) => `/body${fault}`),
  })
  const person = { email: 'new@example.com', password: 'correct horse', firstName: 'A', lastName: 'B' }
  const register = (json: unknown, ...faults: string[]) => bad('/api/auth/register', json, ...faults)
  const login = (json: unknown, ...faults: string[]) => bad('/api/auth/login', json, ...faults)
  return {
    'register: everything is missing': register({}, '/email', '/password', '/firstName', '/lastName'),
    'register: an address without @': register({ ...person, email: 'new' }, '/email'),
    'register: an address with a line break': register(
      { ...person, email: 'a@example.com\r\nBcc: b@example.com' },
      '/email',
    ),
    'register: an address with a null character': register({ ...person, email: 'a\0@example.com' }, '/email'),
    'register: two addresses': register({ ...person, email: 'a@example.com, b@example.com' }, '/email'),
    'register: an address that is too long': register({ ...person, email: `${'a'.repeat(250)}@example.com` }, '/email'),
    'register: an array of addresses': register({ ...person, email: ['a@example.com'] }, '/email'),
    'register: a short password': register({ ...person, password: 'short' }, '/password'),
    'register: a password that is too long': register({ ...person, password: 'x'.repeat(129) }, '/password'),
    'register: names of nothing': register({ ...person, firstName: '', lastName: '  ' }, '/firstName', '/lastName'),
    'register: a name that is too long': register({ ...person, firstName: 'x'.repeat(101) }, '/firstName'),
    'register: null characters in names': register(
      { ...person, firstName: 'a\0', lastName: '\0b' },
      '/firstName',
      '/lastName',
    ),
    'register: roles of one’s own choice': register({ ...person, roles: ['admin'] }, '/roles'),
    'login: everything is missing': login({}, '/email', '/password'),
    'login: an address that is none': login({ email: 'x', password: 'y' }, '/email'),
    'login: a password that is none': login({ email, password: { $ne: null } }, '/password'),
    'login: a password that is too long': login({ email, password: 'x'.repeat(129) }, '/password'),
    'login: a null character': login({ email: `\0${email}`, password: 'correct horse' }, '/email'),
    'refresh: no token': bad('/api/auth/refresh', {}, '/refreshToken'),
    'refresh: a token that is none': bad('/api/auth/refresh', { refreshToken: ['x'] }, '/refreshToken'),
    'refresh: a token that is too long': bad('/api/auth/refresh', { refreshToken: 'x'.repeat(129) }, '/refreshToken'),
    'verify-email: an empty token': bad('/api/auth/verify-email', { token: '' }, '/token'),
    'forgot-password: an address that is none': bad('/api/auth/forgot-password', { email: 'x' }, '/email'),
    'reset-password: everything is missing': bad('/api/auth/reset-password', {}, '/token', '/password'),
    'reset-password: a short password': bad('/api/auth/reset-password', { token: 'x', password: 'short' }, '/password'),
  }
}

function paths(): Record<string, Case> {
  const badId = (path: string, module: string): Case => ({
    path,
    status: 400,
    code: 'BadInput',
    module,
    faults: ['/path/id'],
  })
  const nowhere = (path: string, method = 'GET'): Case => ({
    method,
    path,
    status: 404,
    code: 'NotFound',
    module: 'seam',
  })
  const badUrl = (path: string): Case => ({ path, status: 400, code: 'BadInput', module: 'seam' })
  return {
    'an id that is no UUID': badId('/api/posts/42', 'posts'),
    'an id of another module that is no UUID': badId('/api/users/me', 'users'),
    'a UUID that is too short': badId(`/api/posts/${ID.slice(1)}`, 'posts'),
    'a UUID with something behind it': badId(`/api/posts/${ID}0`, 'posts'),
    'a UUID in braces': badId(`/api/posts/%7B${ID}%7D`, 'posts'),
    'a UUID with a line break': badId(`/api/posts/${ID}%0a`, 'posts'),
    'a null character in the path': badId(`/api/posts/${ID}%00`, 'posts'),
    'nothing but a null character': badId('/api/posts/%00', 'posts'),
    'a quote in the path': badId("/api/posts/'%20or%201=1--", 'posts'),
    'a slash that is encoded': badId('/api/posts/%2f', 'posts'),
    'dots that are encoded': nowhere('/api/posts/%2e%2e'),
    'a path upwards that is encoded': nowhere('/api/posts/..%2fusers'),
    'a backslash': nowhere('/api/posts\\x'),
    'a backslash that is encoded': nowhere('/api/posts/..%5cusers'),
    'an id that begins with dots': nowhere('/api/posts/..x'),
    'an id with dots in it': badId('/api/posts/x..x', 'posts'),
    'a fragment': nowhere('/api/posts#x'),
    'a fragment behind an id': nowhere(`/api/posts/${ID}#x`),
    'letters that should be encoded': nowhere('/api/posts/"<>^`{}'),
    'a space': badId('/api/posts/%20', 'posts'),
    'a semicolon': badId(`/api/posts/${ID};x=1`, 'posts'),
    'a path upwards': nowhere('/api/posts/../users'),
    'a path in place': nowhere('/api/posts/./x'),
    'a path upwards from a module': nowhere(`/api/posts/${ID}/../../users`),
    'two slashes': nowhere('/api//posts'),
    'two slashes at the beginning': nowhere(`//evil.example/api/posts/${ID}`),
    'two slashes below a module': nowhere(`/api/posts//${ID}`),
    'a slash at the end': badId('/api/posts/', 'posts'),
    'a path in another letter case': nowhere('/API/posts'),
    'an id that is longer than any parameter': nowhere(`/api/posts/${'a'.repeat(201)}`),
    'a method that the path does not have': {
      method: 'PUT',
      path: `/api/posts/${ID}`,
      status: 405,
      code: 'MethodNotAllowed',
      module: 'posts',
    },
    'a method that no path has': nowhere('/api/posts', 'TRACE'),
    'percent-encoding that is none': badUrl('/api/posts/%zz'),
    'percent-encoding that ends too early': badUrl('/api/posts/%4'),
    'percent-encoding that is not UTF-8': badUrl('/api/posts/%ff%fe'),
    'half a surrogate pair': badUrl('/api/posts/%ED%A0%80'),
    'bad percent-encoding outside of all modules': badUrl('/nowhere/%'),
  }
}

function queries({ token }: User): Record<string, Case> {
  const posts = (query: string, ...names: string[]): Case => ({
    path: `/api/posts?${query}`,
    status: 400,
    code: 'BadInput',
    module: 'posts',
    faults: names.map((name) => `/query/${name}`),
  })
  const notifications = (query: string, ...names: string[]): Case => ({
    ...posts(query, ...names),
    path: `/api/notifications?${query}`,
    ask: { token },
    module: 'notifications',
  })
  // 16 bytes of a signature that nobody made, and the position.
  const forged = Buffer.concat([Buffer.alloc(16), Buffer.from(ID)]).toString('base64url')
  return {
    'limit 0': posts('limit=0', 'limit'),
    'limit 101': posts('limit=101', 'limit'),
    'limit -1': posts('limit=-1', 'limit'),
    'limit abc': posts('limit=abc', 'limit'),
    'limit 1.5': posts('limit=1.5', 'limit'),
    'limit 1e999': posts('limit=1e999', 'limit'),
    'limit without a value': posts('limit=', 'limit'),
    'limit twice': posts('limit=1&limit=2', 'limit'),
    'limit in brackets': posts('limit[]=1', 'limit[]'),
    'a cursor that is none': posts('cursor=abc', 'cursor'),
    'an empty cursor': posts('cursor=', 'cursor'),
    'a forged cursor': posts(`cursor=${forged}`, 'cursor'),
    'a cursor of other letters': posts('cursor=%F0%9F%98%80', 'cursor'),
    'a cursor with a null character': posts(`cursor=${forged}%00`, 'cursor'),
    'a cursor that is too long': posts(`cursor=${'a'.repeat(513)}`, 'cursor'),
    'a cursor twice': posts('cursor=a&cursor=b', 'cursor'),
    'an author that is no UUID': posts('author=ada', 'author'),
    'an author twice': posts(`author=${ID}&author=${ID}`, 'author'),
    'a tag with a null character': posts('tag=a%00', 'tag'),
    'a tag that is too long': posts(`tag=${'x'.repeat(51)}`, 'tag'),
    'a tag that is empty': posts('tag=', 'tag'),
    'a tag with bad percent-encoding': posts('tag=%zz', 'tag'),
    'a tag that is not UTF-8': posts('tag=%ff', 'tag'),
    'a parameter that nobody knows': posts('sort=asc', 'sort'),
    'the parameter __proto__': posts('__proto__=1', '__proto__'),
    'all faults at once': posts('limit=0&author=ada&tag=%2C&page=2', 'limit', 'author', 'tag', 'page'),
    'notifications: limit 0': notifications('limit=0', 'limit'),
    'notifications: a forged cursor': notifications(`cursor=${forged}`, 'cursor'),
    'notifications: unread that is neither true nor false': notifications('unread=maybe', 'unread'),
    'notifications: a parameter that nobody knows': notifications('user=1', 'user'),
  }
}

function tokens(api: Api, ada: User): Record<string, Case> {
  const [, sessionClaims = ''] = ada.token.split('.')
  const identity = JSON.parse(Buffer.from(sessionClaims, 'base64url').toString()).claims as {
    userId: string
    sessionId: string
  }
  const right = systemTokens(api.target.secret)
  const foreign = systemTokens('another secret, which is as long as the right one')
  const key = keyFor(api.target.secret, 'user token')
  const seconds = Math.floor(Date.now() / 1000)
  const signed = (claims: object, options: object = {}) => createSigner({ key, algorithm: 'HS256', ...options })(claims)
  const claims = { aud: 'api', claims: identity }
  const [header, payload, signature] = ada.token.split('.') as [string, string, string]
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
  const admin = Buffer.from(
    JSON.stringify({
      aud: 'api',
      exp: seconds + 60,
      claims: { ...identity, userId: '01890000-0000-7000-8000-000000000001' },
    }),
  )
  const authorizations = {
    'a token that has expired': signed({ ...claims, iat: seconds - 120, exp: seconds - 60 }),
    'a token that is not valid yet': signed({ ...claims, nbf: seconds + 600, exp: seconds + 700 }),
    'a token that never expires': signed(claims),
    'a token without an audience': signed({ claims: identity, exp: seconds + 60 }),
    'a token without claims': signed({ aud: 'api', exp: seconds + 60 }),
    'a token with claims of another shape': signed({ aud: 'api', exp: seconds + 60, claims: { userId: ada.id } }),
    'a token of a session that is not there': signed({
      aud: 'api',
      exp: seconds + 60,
      claims: { ...identity, sessionId: ada.id },
    }),
    'a token of another secret': foreign.user.sign('api', identity),
    'a token for another audience': right.user.sign('posts', identity),
    'the word of one process to another': right.identity.sign('api', {
      identity: { ...identity, roles: ['admin' as const] },
    }),
    'a token between services': right.service.sign('api', { caller: 'posts' }),
    'a token of another algorithm': signed({ ...claims, exp: seconds + 60 }, { algorithm: 'HS512' }),
    'a token without a signature': `${none}.${payload}.`,
    'a token that is not signed': `${header}.${payload}.`,
    'a token with other claims': `${header}.${admin.toString('base64url')}.${signature}`,
    'a token that is cut': ada.token.slice(0, -4),
    'a token that goes on': `${ada.token}.x`,
    'a session id': ada.cookie.slice(4),
    nothing: '',
    'a word': 'abc',
    dots: '..',
    'a very long word': 'x'.repeat(8000),
  }
  const refusal = (authorization: string, path: string): Case => ({
    path,
    ask: { headers: { authorization } },
    status: 401,
    code: 'Unauthenticated',
    module: 'seam',
  })
  const cases: Record<string, Case> = {}
  for (const [what, token] of Object.entries(authorizations)) {
    for (const path of ['/api/notifications', '/api/posts', `/api/users/${ada.id}`]) {
      cases[`${what}, ${path.split('/')[2]}`] = refusal(`Bearer ${token}`, path)
    }
  }
  for (const value of [
    'Basic YTpi',
    'Bearer',
    `Token ${ada.token}`,
    ada.token,
    `Bearer ${ada.token}, Bearer ${ada.token}`,
  ]) {
    cases[`authorization: ${value.slice(0, 12)} (${value.length})`] = refusal(value, '/api/posts')
  }
  // A bad token is not outweighed by a good cookie: whoever sends one wants to be known by it.
  const both = refusal('Bearer abc', '/api/posts')
  cases['a bad token beside a good cookie'] = { ...both, ask: { ...both.ask, cookie: ada.cookie } }
  return cases
}
