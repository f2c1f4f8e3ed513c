import { createHash } from 'node:crypto'
import type { Test } from 'tap'
import type { Api } from './client.ts'

/** The operations of all modules. */
const OPERATIONS = [
  'changePassword POST /api/profile/password',
  'changeProfile PATCH /api/profile',
  'changeUser PATCH /api/users/{id}',
  'createComment POST /api/posts/{id}/comments',
  'createPost POST /api/posts',
  'deleteComment DELETE /api/comments/{id}',
  'deletePost DELETE /api/posts/{id}',
  'deleteUser DELETE /api/users/{id}',
  'endSession DELETE /api/auth/sessions/{id}',
  'forgotPassword POST /api/auth/forgot-password',
  'getComment GET /api/comments/{id}',
  'getEmail GET /api/email/{id}',
  'getHealth GET /api/health',
  'getNotification GET /api/notifications/{id}',
  'getPost GET /api/posts/{id}',
  'getPreferences GET /api/notifications/preferences',
  'getProfile GET /api/profile',
  'getPushKey GET /api/push/key',
  'getSms GET /api/sms/{id}',
  'getUser GET /api/users/{id}',
  'listComments GET /api/posts/{id}/comments',
  'listNotifications GET /api/notifications',
  'listPosts GET /api/posts',
  'listSessions GET /api/auth/sessions',
  'listTags GET /api/tags',
  'listUsers GET /api/users',
  'login POST /api/auth/login',
  'logout POST /api/auth/logout',
  'publishPost POST /api/posts/{id}/publish',
  'readAllNotifications POST /api/notifications/read-all',
  'readNotification POST /api/notifications/{id}/read',
  'refresh POST /api/auth/refresh',
  'register POST /api/auth/register',
  'resetPassword POST /api/auth/reset-password',
  'sendEmail POST /api/email',
  'sendSms POST /api/sms',
  'setPreferences PUT /api/notifications/preferences',
  'setRoles PUT /api/users/{id}/roles',
  'streamNotifications GET /api/notifications/stream',
  'subscribeToPush POST /api/push/subscriptions',
  'unsubscribeFromPush DELETE /api/push/subscriptions/{id}',
  'updateComment PATCH /api/comments/{id}',
  'updatePost PATCH /api/posts/{id}',
  'verifyEmail POST /api/auth/verify-email',
]

let document: string | undefined

export async function docs(t: Test, api: Api): Promise<void> {
  await t.test('/openapi.json has every operation of every module, and is the same everywhere', async (t) => {
    const answer = await api.get('/openapi.json')
    t.match([answer.status, answer.headers['content-type']], [200, /^application\/json\b/])
    t.match(answer.body, { openapi: '3.1.0' })
    t.strictSame(operationsOf(answer.body), OPERATIONS)
    document ??= answer.text
    t.equal(sha256(answer.text), sha256(document), 'byte for byte what the first placement of this run has')
  })

  await t.test('every reference in it leads somewhere', async (t) => {
    const { text, body } = await api.get('/openapi.json')
    for (const [, pointer] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      t.ok(
        pointer!.split('/').reduce((at, name) => at?.[name], body),
        pointer!,
      )
    }
  })

  await t.test('/docs shows it to people, with nothing from another host', async (t) => {
    const page = await pageAt(api, '/docs')
    t.match(page.answer.headers['content-type'], /^text\/html\b/)
    const assets = [...page.answer.text.matchAll(/<(?:script|link|img)\b[^>]*\b(?:src|href)="([^"]+)"/g)].map(
      ([, url]) => new URL(url!, new URL(page.path, api.target.url)),
    )
    t.ok(assets.length > 0, 'it loads a script')
    for (const url of assets) {
      t.equal(url.origin, api.target.url)
      const { status, headers, text } = await api.get(url.pathname + url.search)
      t.match([status, headers['content-type']], [200, /javascript/], url.pathname)
      t.ok(text.length > 10_000)
    }
    t.notMatch(page.answer.text, /(https?:)?\/\/[\w-]+\./i, 'no other host is named')
    const shown = await api.get(new URL('openapi.json', new URL(page.path, api.target.url)).pathname)
    t.strictSame(operationsOf(shown.body), OPERATIONS, 'what it shows is the whole API')
    const policy = String(page.answer.headers['content-security-policy'])
    t.match(policy, "default-src 'self'")
    t.notMatch(policy, /https?:/, 'the browser is told to load nothing from elsewhere')
  })
}

async function pageAt(api: Api, path: string) {
  const answer = await api.get(path)
  const { location } = answer.headers
  if (answer.status < 300 || answer.status >= 400 || !location) return { path, answer }
  const { pathname } = new URL(String(location), new URL(path, api.target.url))
  return { path: pathname, answer: await api.get(pathname) }
}

function operationsOf(document: { paths: Record<string, Record<string, { operationId: string }>> }): string[] {
  return Object.entries(document.paths)
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId }]) => `${operationId} ${method.toUpperCase()} ${path}`),
    )
    .sort()
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
