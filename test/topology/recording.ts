import { type Answer, type Api, type Ask, type User, until } from '../api/client.ts'

/** What was asked and what came back, as lines of text in which nothing differs from one run to the next. */
export interface Exchange {
  what: string
  lines: string[]
}

type Request = [method: string, path: string, ask?: Ask]

/** Headers of a single connection, and what tells of the time. */
const OWN_TO_THE_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date'])
const JSON_TYPE = { 'content-type': 'application/json' }
const NOBODY = '01900000-0000-7000-8000-000000000000'
const MIB = 1024 * 1024

/**
 * Plays the same requests, good and bad ones, against a fresh Seam.
 *
 * @param settled resolves when all events have had their effects
 */
export async function record(api: Api, settled: () => Promise<unknown>): Promise<Exchange[]> {
  const exchanges: Exchange[] = []
  const names = new Map<string, string>()
  const play = async (method: string, path: string, ask?: Ask): Promise<Answer> => {
    const answer = await api.send(method, path, ask)
    nameIds(answer.body, names)
    exchanges.push({
      what: `${exchanges.length + 1}. ${method} ${replaced(path, names)}`,
      lines: linesOf(answer, names),
    })
    return answer
  }

  const ada = await register(play, 'Ada')
  const bob = await register(play, 'Bob')
  // Somebody else asks, because each request counts towards the caller's limit.
  const { token } = await api.register('Eve')
  const posts: string[] = []
  for (const title of ['First', 'Second', 'Third']) {
    const json = { title, content: `${title} post: ünïcödé 👩‍👩‍👧`, tags: ['weaving'] }
    posts.push((await play('POST', '/api/posts', { token: ada.token, json })).body.data.id)
    // One after the other: two that are counted at once make one new version of the user.
    await until(
      () => api.get(`/api/users/${ada.id}`, { token }),
      ({ body }) => body.data.postCount === posts.length,
    )
  }
  // A draft is not counted.
  const draft = await play('POST', '/api/posts', {
    cookie: ada.cookie,
    json: { title: 'Draft', content: 'Not yet.', status: 'draft' },
  })
  await until(
    () => api.get('/api/tags', { token }),
    ({ body }) => body.data[0]?.count === 3,
  )
  // When the mail is there, the notification is, too.
  for (const { email } of [ada, bob]) await api.target.smtp.mailTo(email)
  const page = await play('GET', `/api/posts?author=${ada.id}&limit=2`)
  for (const request of requests(ada, bob, posts, draft.body.data.id, page.body.page.next)) {
    const { status } = await play(...request)
    if (request[0] === 'PATCH' && status === 200) await settled()
  }
  return exchanges
}

async function register(play: (...request: Request) => Promise<Answer>, firstName: string): Promise<User> {
  const account = { email: `${firstName.toLowerCase()}@example.com`, password: 'correct horse battery' }
  const json = { ...account, firstName, lastName: 'Lovelace' }
  const answer = await play('POST', '/api/auth/register', { json })
  const [cookie = ''] = String(answer.headers['set-cookie']).split(';')
  return { ...account, id: answer.body.user.id, token: answer.body.token, cookie }
}

function requests(ada: User, bob: User, posts: string[], draft: string, cursor: string): Request[] {
  const { token, cookie, email, password } = ada
  const post = { title: 'T', content: 'C' }
  const raw = (body: Ask['body'], headers: Record<string, string> = JSON_TYPE): Request => [
    'POST',
    '/api/posts',
    { token, headers, ...(body !== undefined && { body }) },
  ]
  return [
    // What works.
    ['POST', '/api/auth/login', { json: { email: email.toUpperCase(), password } }],
    ['GET', `/api/users/${ada.id}`],
    ['GET', `/api/users/${ada.id}`, { token }],
    ['GET', `/api/users/${ada.id}`, { cookie }],
    ['GET', `/api/users/${ada.id}`, { token: bob.token }],
    ['HEAD', `/api/users/${ada.id}`],
    ['GET', `/api/posts/${posts[0]}`],
    ['GET', `/api/posts/${posts[0]?.toUpperCase()}`],
    ['GET', `/api/posts/${draft}`, { token }],
    ['HEAD', `/api/posts?limit=1`],
    ['GET', `/api/posts?author=${ada.id}&limit=2&cursor=${cursor}`],
    ['GET', '/api/posts?tag=weaving&limit=100'],
    ['GET', '/api/posts?tag=w%65aving&limit=1'],
    ['GET', '/api/posts?tag=none'],
    ['GET', '/api/posts?'],
    ['GET', '/api/posts?status=draft', { token }],
    ['GET', '/api/posts?q=%C3%9CN%C3%8FC%C3%96D%C3%89+-second&limit=1', { token }],
    ['GET', '/api/tags?prefix=Weav'],
    ['PATCH', `/api/posts/${posts[1]}`, { token, json: { title: 'Changed' }, headers: { 'if-match': '*' } }],
    ['POST', `/api/posts/${posts[1]?.toUpperCase()}/comments`, { token, json: { content: 'Well said.' } }],
    ['GET', `/api/posts/${posts[1]}/comments?limit=1`],
    ['GET', '/api/notifications', { token }],
    ['GET', '/api/notifications?unread=true&limit=1', { cookie }],
    ['GET', `/api/notifications/${NOBODY}`, { token }],
    ['POST', '/api/notifications/read-all', { cookie }],
    ['HEAD', '/api/notifications/stream', { token }],
    ['GET', '/api/notifications/stream', { token, headers: { 'last-event-id': 'x' } }],
    ['GET', '/api/notifications/stream', { token, headers: { accept: 'application/pdf' } }],
    ['GET', '/api/notifications/preferences', { token }],
    ['PUT', '/api/notifications/preferences', { token, json: { phone: '0', kinds: {} } }],
    ['POST', '/api/email', { token, json: { to: email, subject: 'S', text: 'T' } }],
    ['GET', `/api/sms/${NOBODY}`, { token }],
    ['POST', '/api/push/subscriptions', { token, json: { endpoint: 'http://127.0.0.1/', keys: {} } }],
    ['DELETE', `/api/push/subscriptions/${NOBODY}`, { cookie }],
    ['GET', '/api/auth/sessions?limit=1', { token }],
    ['GET', '/api/profile', { token }],
    ['HEAD', '/api/profile', { cookie }],
    ['GET', '/api/profile', { token, headers: { 'if-none-match': '*' } }],
    ['PATCH', '/api/profile', { token, json: { lastName: 'King' } }],
    ['PATCH', `/api/users/${ada.id}`, { token, json: { lastName: 'Lovelace' }, headers: { 'if-match': '*' } }],
    ['POST', '/api/auth/forgot-password', { json: { email } }],
    ['GET', '/api/health'],
    ['GET', '/openapi.json'],
    ['HEAD', '/openapi.json'],
    ['GET', '/docs'],
    ['GET', '/docs/'],

    // Who may.
    ['POST', '/api/auth/login', { json: { email, password: 'wrong horse' } }],
    ['POST', '/api/auth/login', { json: { email: 'nobody@example.com', password } }],
    ['POST', '/api/auth/register', { json: { email, password, firstName: 'Eve', lastName: 'Other' } }],
    ['GET', '/api/notifications'],
    ['GET', '/api/notifications', { token: `${token}x` }],
    ['GET', '/api/notifications', { cookie: 'sid=forged' }],
    ['POST', '/api/posts', { json: post }],
    ['POST', '/api/posts', { json: post, cookie, headers: { origin: 'https://evil.example' } }],
    ['POST', '/api/posts', { json: post, cookie, headers: { 'sec-fetch-site': 'cross-site' } }],
    ['GET', `/api/posts/${draft}`, { token: bob.token }],
    ['GET', `/api/users/${ada.id}`, { headers: { authorization: 'Basic YTpi' } }],
    ['GET', `/api/users/${ada.id}`, { headers: { 'x-seam-identity': 'forged', 'x-seam-service': 'forged' } }],
    ['POST', '/_seam/users/getUser', { json: { id: ada.id } }],
    ['POST', '/_seam/posts/$health', { json: {}, token }],

    ['GET', '/api/users', { token }],
    ['PUT', `/api/users/${ada.id}/roles`, { token, json: { roles: ['admin'] } }],
    ['PATCH', `/api/users/${ada.id}`, { token: bob.token, json: { firstName: 'Eve' } }],
    ['PATCH', '/api/profile', { token, json: { firstName: 'Late' }, headers: { 'if-match': '"0"' } }],
    ['PATCH', '/api/profile', { token, json: { email: bob.email } }],
    ['POST', '/api/profile/password', { token, json: { currentPassword: 'wrong horse', password } }],
    ['POST', '/api/auth/refresh', { json: { refreshToken: 'x' } }],
    ['POST', '/api/auth/verify-email', { json: { token: 'x' } }],
    ['DELETE', `/api/auth/sessions/${NOBODY}`, { token }],
    ['POST', '/api/auth/logout', { cookie: bob.cookie }],
    ['GET', '/api/profile', { token: bob.token }],

    // What is not there.
    ['GET', `/api/posts/${NOBODY}`],
    ['GET', `/api/users/${NOBODY}`],
    ['GET', '/'],
    ['GET', '/api/nowhere'],
    ['GET', '/api/posts/'],
    ['GET', `/api/posts/${posts[0]}/nowhere`],
    ['GET', '/api/comments/1'],
    ['GET', '/api/tags'],
    ['GET', '/api/profile'],
    ['GET', '/api/email'],
    ['PATCH', `/api/posts/${posts[1]}`, { token, json: { title: 'Lost' }, headers: { 'if-match': '"1-1"' } }],
    ['PATCH', `/api/posts/${posts[1]}`, { token: bob.token, json: { title: 'Taken over' } }],
    ['POST', `/api/posts/${draft}/publish`, { token: bob.token }],
    ['GET', `/api/posts/${draft}/comments`],
    // The same name, and before a post is deleted: when either reaches the other module is not to be said.
    ['PATCH', `/api/users/${ada.id}`, { token, json: { firstName: 'Ada' } }],
    ['DELETE', `/api/posts/${posts[2]}`, { token: bob.token }],
    ['DELETE', `/api/posts/${posts[2]}`, { token }],
    ['DELETE', `/api/posts/${posts[2]}`, { token }],
    ['PUT', '/api/auth/login', { json: {} }],
    ['OPTIONS', '/api/posts', { headers: { origin: 'https://else.example', 'access-control-request-method': 'POST' } }],
    ['OPTIONS', '/api/health'],
    ['TRACE', '/api/posts'],
    ['GET', '/api/posts/../users'],
    ['GET', '/api/posts/%2e%2e/users'],
    ['GET', '/api//posts'],
    ['GET', '/API/posts'],
    ['POST', '/api/posts/', { token, json: post }],

    ['DELETE', `/api/posts/${posts[0]}`, { token: `${token}x` }],
    ['GET', '/api/tags/x', { headers: { authorization: 'Basic YTpi' } }],
    ['GET', '/api/nowhere', { token: `${token}x` }],
    ['POST', '/api/tags', { headers: JSON_TYPE, body: '{' }],
    ['POST', '/api/tags', { headers: { 'content-type': 'text/plain' }, body: 'x' }],
    ['POST', '/api/tags', { headers: JSON_TYPE, body: 'x'.repeat(2 * MIB) }],
    ['POST', '/api/posts', { headers: JSON_TYPE, body: '{' }],
    ['POST', '/api/posts', { headers: JSON_TYPE, body: 'x'.repeat(2 * MIB) }],
    ['POST', '/api/posts', { headers: JSON_TYPE, body: 'x'.repeat(2 * MIB), token: 'x' }],
    ['POST', '/api/nowhere', { headers: JSON_TYPE, body: '{' }],

    // What is wrong.
    ['GET', '/api/posts/42'],
    ['GET', '/api/users/%00'],
    ['GET', '/api/posts/%zz'],
    ['GET', '/api/users/%ff'],
    ['GET', `/api/posts/${'a'.repeat(201)}`],
    ['GET', '/api/posts?limit=0&author=x&tag=%2C&page=1'],
    ['GET', '/api/posts?limit=1&limit=2'],
    ['GET', '/api/posts?cursor=abc'],
    ['GET', `/api/notifications?cursor=${cursor}`, { token }],
    ['GET', '/api/notifications?unread=maybe', { token }],
    ['POST', '/api/auth/register', { json: { email: 'x', password: 'y', firstName: '', roles: ['admin'] } }],
    ['POST', '/api/auth/login', { json: [] }],
    ['POST', '/api/auth/login', { headers: JSON_TYPE, body: '{' }],
    ['POST', '/api/posts', { token, json: { ...post, title: 'a\0', tags: ['b'] } }],
    raw('{"title":"\\ud800","content":"C"}'),
    raw('{"title":"T","content":'),
    raw('{"title":"T","content":"C","__proto__":{}}'),
    raw('['.repeat(100_000)),
    raw(undefined),
    raw('', { ...JSON_TYPE, 'content-length': '0' }),
    raw('a=b', { 'content-type': 'application/x-www-form-urlencoded' }),
    raw('{}', { 'content-type': 'nonsense' }),
    raw('{}', {}),
    raw('x'.repeat(2 * MIB)),
    raw('x'.repeat(2 * MIB), { 'content-type': 'text/plain' }),
    raw(chunks('x'.repeat(MIB), 'x'.repeat(MIB))),
    ['GET', '/api/posts', { headers: { 'x-request-id': 'my-own.1' } }],
    ['GET', '/api/users/x', { headers: { 'x-request-id': 'not well formed' } }],
    ['GET', `/api/posts/${posts[0]}`, { headers: { accept: 'text/html', 'accept-encoding': 'gzip' } }],
    ['GET', `/api/posts/${posts[0]}`, { headers: { connection: 'close, x-request-id', te: 'trailers' } }],
  ]
}

async function* chunks(...parts: string[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi

/** Gives each id that an answer has at a known place a name, by the order in which they come. */
function nameIds(body: unknown, names: Map<string, string>): void {
  for (const [id] of JSON.stringify(body ?? null).matchAll(UUID)) {
    if (id !== NOBODY && !names.has(id)) names.set(id, `<id ${names.size + 1}>`)
  }
}

function replaced(text: string, names: Map<string, string>): string {
  return text
    .replace(UUID, (id) => names.get(id) ?? names.get(id.toLowerCase()) ?? '<id>')
    .replace(/\b[\w-]{20,}\.[\w-]{20,}\.[\w-]{20,}\b/g, '<token>')
    .replace(/("refreshToken": ?")[\w-]{43}/g, '$1<refresh token>')
    .replace(/\bsid=[^;]+/g, 'sid=<session>')
    .replace(/Expires=[^;]+/g, 'Expires=<time>')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '<time>')
    .replace(/"responseTime": ?[\d.]+/g, '"responseTime": <ms>')
    .replace(/(cursor=|"next": ?")[\w-]{30,}/g, '$1<cursor>')
}

function linesOf(answer: Answer, names: Map<string, string>): string[] {
  const headers = Object.entries(answer.headers)
    .filter(([name]) => !OWN_TO_THE_CONNECTION.has(name))
    .map(([name, value]) => {
      if (name === 'ratelimit') return `${name}: ${String(value).replace(/t=\d+$/, 't=<s>')}`
      // Its digits depend on how long the answers took, and its length with them.
      if (name === 'content-length' && answer.text.includes('"responseTime"')) return `${name}: <n>`
      return `${name}: ${replaced(String(value), names)}`
    })
  const body = answer.body === undefined ? answer.text : JSON.stringify(answer.body, null, 1)
  return [`${answer.status}`, ...headers.sort(), '', ...replaced(body, names).split('\n')]
}
