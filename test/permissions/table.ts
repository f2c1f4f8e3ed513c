import type { World } from './world.ts'

/** Who asks. `member` is signed in and owns nothing of what is asked for; a bad credential is never better than none. */
export const CALLERS = [
  'nobody',
  'member',
  'owner',
  'moderator',
  'admin',
  'internal service',
  'expired token',
  'revoked session',
  'deleted user',
] as const
export type Caller = (typeof CALLERS)[number]

/** One route: the status that each caller gets, in the order of {@link CALLERS}, and what they ask for. */
export interface Row {
  statuses: readonly number[]
  /** Makes what is asked for anew for each caller, and belongs to the owner (default: the path as it is). */
  ask: (world: World) => Promise<Asked> | Asked
  /** It ends accounts or sessions, so it is asked in a world of its own. */
  ends: boolean
}

export interface Asked {
  path: string
  json?: unknown
}

const row = (statuses: string, ask: Row['ask']): Row => ({
  statuses: statuses.split(/\s+/).map(Number),
  ask,
  ends: false,
})
const ending = (statuses: string, ask: Row['ask']): Row => ({ ...row(statuses, ask), ends: true })

const NEW_POST = { title: 'Mine', content: 'Hands off.' }
const subscription = (n: number) => ({
  endpoint: `https://push.example.com/${process.pid}/${n}`,
  keys: {
    p256dh: 'BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM',
    auth: 'tBHItJI5svbpez7KI4CCXg',
  },
})
const preference = { inApp: true, email: true, push: true, sms: false }
let count = 0

/** Every route of the system. One that is not here fails the test. */
export const TABLE: Record<string, Row> = {
  //                                            nobody mem own mod adm svc exp rev del
  'POST /api/auth/register': row('201 201 201 201 201 201 401 401 401', () => ({
    path: '/api/auth/register',
    json: {
      email: `row.${process.pid}.${++count}@example.com`,
      password: 'correct horse battery',
      firstName: 'A',
      lastName: 'B',
    },
  })),
  'POST /api/auth/login': row('200 200 200 200 200 200 401 401 401', ({ owner: { email, password } }) => ({
    path: '/api/auth/login',
    json: { email, password },
  })),
  'POST /api/auth/refresh': row('200 200 200 200 200 200 401 401 401', async (world) => ({
    path: '/api/auth/refresh',
    json: { refreshToken: await world.refreshToken() },
  })),
  'POST /api/auth/logout': ending('401 204 204 204 204 401 401 401 401', async () => ({ path: '/api/auth/logout' })),
  'GET /api/auth/sessions': row('401 200 200 200 200 401 401 401 401', () => ({ path: '/api/auth/sessions' })),
  'DELETE /api/auth/sessions/:id': row('401 404 204 404 404 401 401 401 401', async (world) => ({
    path: `/api/auth/sessions/${await world.otherSession()}`,
  })),
  'POST /api/auth/verify-email': row('400 400 400 400 400 400 401 401 401', () => ({
    path: '/api/auth/verify-email',
    json: { token: 'a'.repeat(43) },
  })),
  'POST /api/auth/forgot-password': row('202 202 202 202 202 202 401 401 401', ({ owner: { email } }) => ({
    path: '/api/auth/forgot-password',
    json: { email },
  })),
  'POST /api/auth/reset-password': row('400 400 400 400 400 400 401 401 401', () => ({
    path: '/api/auth/reset-password',
    json: { token: 'a'.repeat(43), password: 'another horse battery' },
  })),
  'GET /api/users': row('401 403 403 403 200 401 401 401 401', () => ({ path: '/api/users' })),
  'GET /api/users/:id': row('200 200 200 200 200 200 401 401 401', ({ owner }) => ({ path: `/api/users/${owner.id}` })),
  'PATCH /api/users/:id': row('401 403 200 403 200 401 401 401 401', ({ owner }) => ({
    path: `/api/users/${owner.id}`,
    json: { firstName: 'Renamed' },
  })),
  'DELETE /api/users/:id': ending('401 403 204 403 204 401 401 401 401', ({ owner }) => ({
    path: `/api/users/${owner.id}`,
  })),
  'PUT /api/users/:id/roles': row('401 403 403 403 200 401 401 401 401', ({ owner }) => ({
    path: `/api/users/${owner.id}/roles`,
    json: { roles: ['member'] },
  })),
  'GET /api/profile': row('401 200 200 200 200 401 401 401 401', () => ({ path: '/api/profile' })),
  'PATCH /api/profile': row('401 200 200 200 200 401 401 401 401', () => ({
    path: '/api/profile',
    json: { firstName: 'Self' },
  })),
  'POST /api/profile/password': ending('401 204 204 204 204 401 401 401 401', ({ owner: { password } }) => ({
    path: '/api/profile/password',
    json: { currentPassword: password, password },
  })),

  'POST /api/posts': row('401 201 201 201 201 401 401 401 401', () => ({ path: '/api/posts', json: NEW_POST })),
  'GET /api/posts': row('200 200 200 200 200 200 401 401 401', () => ({ path: '/api/posts' })),
  'GET /api/posts/:id': row('404 404 200 404 404 404 401 401 401', async (world) => ({
    path: `/api/posts/${await world.draft()}`,
  })),
  'PATCH /api/posts/:id': row('401 403 200 403 403 401 401 401 401', async (world) => ({
    path: `/api/posts/${await world.post()}`,
    json: { title: 'Changed' },
  })),
  'DELETE /api/posts/:id': row('401 403 204 204 204 401 401 401 401', async (world) => ({
    path: `/api/posts/${await world.post()}`,
  })),
  'POST /api/posts/:id/publish': row('401 404 200 404 404 401 401 401 401', async (world) => ({
    path: `/api/posts/${await world.draft()}/publish`,
  })),
  'GET /api/posts/:id/comments': row('200 200 200 200 200 200 401 401 401', async (world) => ({
    path: `/api/posts/${await world.post()}/comments`,
  })),
  'POST /api/posts/:id/comments': row('401 201 201 201 201 401 401 401 401', async (world) => ({
    path: `/api/posts/${await world.post()}/comments`,
    json: { content: 'Well said.' },
  })),
  'GET /api/comments/:id': row('200 200 200 200 200 200 401 401 401', async (world) => ({
    path: `/api/comments/${await world.comment()}`,
  })),
  'PATCH /api/comments/:id': row('401 403 200 403 403 401 401 401 401', async (world) => ({
    path: `/api/comments/${await world.comment()}`,
    json: { content: 'Changed.' },
  })),
  'DELETE /api/comments/:id': row('401 403 204 204 204 401 401 401 401', async (world) => ({
    path: `/api/comments/${await world.comment()}`,
  })),
  'GET /api/tags': row('200 200 200 200 200 200 401 401 401', () => ({ path: '/api/tags' })),

  'GET /api/notifications': row('401 200 200 200 200 401 401 401 401', () => ({ path: '/api/notifications' })),
  'GET /api/notifications/stream': row('401 200 200 200 200 401 401 401 401', () => ({
    path: '/api/notifications/stream',
  })),
  'GET /api/notifications/:id': row('401 404 200 404 404 401 401 401 401', async (world) => ({
    path: `/api/notifications/${await world.notification()}`,
  })),
  'POST /api/notifications/:id/read': row('401 404 200 404 404 401 401 401 401', async (world) => ({
    path: `/api/notifications/${await world.notification()}/read`,
  })),
  'POST /api/notifications/read-all': row('401 204 204 204 204 401 401 401 401', () => ({
    path: '/api/notifications/read-all',
  })),
  'GET /api/notifications/preferences': row('401 200 200 200 200 401 401 401 401', () => ({
    path: '/api/notifications/preferences',
  })),
  'PUT /api/notifications/preferences': row('401 200 200 200 200 401 401 401 401', () => ({
    path: '/api/notifications/preferences',
    json: { phone: null, kinds: { welcome: preference, comment: preference } },
  })),
  'POST /api/email': row('401 403 403 403 202 401 401 401 401', () => ({
    path: '/api/email',
    json: { to: 'somebody@example.com', subject: 'Hello', text: 'Hello.' },
  })),
  'GET /api/email/:id': row('401 403 403 403 200 401 401 401 401', async (world) => ({
    path: `/api/email/${await world.email()}`,
  })),
  'POST /api/sms': row('401 403 403 403 202 401 401 401 401', () => ({
    path: '/api/sms',
    json: { to: '+4915112345678', text: 'Hello.' },
  })),
  'GET /api/sms/:id': row('401 403 403 403 200 401 401 401 401', async (world) => ({
    path: `/api/sms/${await world.sms()}`,
  })),
  'GET /api/push/key': row('200 200 200 200 200 200 401 401 401', () => ({ path: '/api/push/key' })),
  'POST /api/push/subscriptions': row('401 201 201 201 201 401 401 401 401', () => ({
    path: '/api/push/subscriptions',
    json: subscription(++count),
  })),
  'DELETE /api/push/subscriptions/:id': row('401 403 204 403 403 401 401 401 401', async (world) => ({
    path: `/api/push/subscriptions/${await world.subscription(subscription(++count))}`,
  })),
}
