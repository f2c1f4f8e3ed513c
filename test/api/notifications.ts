import type { Test } from 'tap'
import { type Answer, type Api, refused, type User, until } from './client.ts'

export async function notifications(t: Test, api: Api): Promise<void> {
  const ada = await api.register('Ada')
  const bob = await api.register('Bob')
  const list = ({ token }: User, query = '') => api.get(`/api/notifications${query}`, { token })
  const received = (who: User, count: number) =>
    until(
      () => list(who),
      ({ body }) => body.data.length >= count,
    )
  const texts = ({ body }: Answer): string[] => body.data.map(({ text }: { text: string }) => text)

  await t.test('everybody sees their own notifications', async (t) => {
    t.strictSame(texts(await received(ada, 1)), ['Welcome to Seam, Ada!'])
    t.strictSame(texts(await received(bob, 1)), ['Welcome to Seam, Bob!'])
  })

  await t.test('the welcome mail has a link that leads to the application, and its token as text', async (t) => {
    const { words } = await api.target.smtp.mailTo(ada.email)
    const [, token = ''] = /\/verify-email\?token=([\w-]+)$/m.exec(words) ?? []
    t.match(words, new RegExp(`^${token}\\r?$`, 'm'))
    t.equal((await api.post('/api/auth/verify-email', { token })).status, 204)
  })

  await t.test('who writes a post is told of comments, and can mark them as read', async (t) => {
    const post = await api.post('/api/posts', { title: 'On engines', content: 'They weave.' }, { token: ada.token })
    const comments = `/api/posts/${post.body.data.id}/comments`
    const comment = await api.post(comments, { content: 'Well said.' }, { token: bob.token })
    const { body } = await received(ada, 2)
    t.match(body.data[0], { kind: 'comment', link: `/api/comments/${comment.body.data.id}`, readAt: null })
    t.match(body.data[0].text, /^Bob .* “On engines”: Well said\.$/)
    t.strictSame((await list(ada, '?unread=true')).body, body)

    const path = `/api/notifications/${body.data[0].id}`
    const { token } = ada
    const found = await api.get(path, { token })
    t.strictSame(found.body.data, body.data[0])
    const read = await api.send('POST', `${path}/read`, { token })
    t.match([read.status, read.body.data.readAt], [200, /Z$/])
    t.not(read.headers.etag, found.headers.etag)
    const known = { token, headers: { 'if-none-match': String(read.headers.etag) } }
    t.equal((await api.get(path, known)).status, 304)
    t.strictSame(texts(await list(ada, '?unread=true')), ['Welcome to Seam, Ada!'])
    t.equal((await api.send('POST', '/api/notifications/read-all', { token })).status, 204)
    t.strictSame(texts(await list(ada, '?unread=true')), [])
    t.equal((await list(ada, '?unread=false')).body.data.length, 2)

    const missing = { status: 404, code: 'NotificationNotFound', module: 'notifications', path }
    refused(t, await api.get(path, { token: bob.token }), missing)
  })

  await t.test('preferences say what is told, and change in one piece', async (t) => {
    const path = '/api/notifications/preferences'
    const { token } = bob
    const before = await api.get(path, { token })
    const off = { inApp: false, email: false, push: false, sms: false }
    const json = { ...before.body.data, kinds: { ...before.body.data.kinds, comment: off } }
    const headers = { 'if-match': String(before.headers.etag) }
    const set = await api.send('PUT', path, { token, json, headers })
    t.strictSame([set.status, set.body], [200, { data: json }])
    const stale = await api.send('PUT', path, { token, json, headers })
    refused(t, stale, { status: 412, code: 'PreconditionFailed', module: 'seam', path })
    t.strictSame((await api.get(path, { token })).body, set.body)
  })

  await t.test("a cursor of another module's list is refused", async (t) => {
    for (const title of ['One', 'Two']) await api.post('/api/posts', { title, content: 'Words.' }, { token: bob.token })
    const { body } = await api.get(`/api/posts?author=${bob.id}&limit=1`)
    t.ok(body.page.next)
    const answer = await list(bob, `?cursor=${body.page.next}`)
    refused(t, answer, { status: 400, code: 'BadInput', module: 'notifications', path: '/api/notifications' })
  })
}
