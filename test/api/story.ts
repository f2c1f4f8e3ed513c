import type { Test } from 'tap'
import { type Api, until } from './client.ts'

/** The story: from one module to the next by calls and by events. */
export async function story(t: Test, api: Api): Promise<void> {
  const email = `story.${process.pid}.${performance.now()}@example.com`
  const registered = await api.post('/api/auth/register', {
    email,
    password: 'correct horse battery',
    firstName: 'Ada',
    lastName: 'Lovelace',
  })
  t.equal(registered.status, 201, 'register')
  t.match(registered.body, {
    user: { id: /^[0-9a-f]{8}-[0-9a-f]{4}-7/, email, firstName: 'Ada', roles: ['member'], postCount: 0 },
    token: /^[\w-]+\.[\w-]+\.[\w-]+$/,
    expiresIn: Number,
  })
  const { user, token } = registered.body

  const mail = await api.target.smtp.mailTo(email)
  t.match(mail.text, /^Subject: Welcome to Seam\r?$/m, 'the welcome mail arrives')
  t.match(mail.text, /^Message-ID: <[0-9a-f-]{36}@[^>]+>\r?$/im, 'its id is that of the row, which stays the same')
  t.match(mail.text, 'Welcome to Seam, Ada!')

  const post = await api.post(
    '/api/posts',
    { title: 'On engines', content: 'They weave.', tags: ['history'] },
    { token },
  )
  t.equal(post.status, 201, 'write a post')
  t.equal(post.headers.location, `/api/posts/${post.body.data.id}`)
  t.match(post.body.data, {
    title: 'On engines',
    content: 'They weave.',
    tags: ['history'],
    status: 'published',
    author: { id: user.id, firstName: 'Ada', lastName: 'Lovelace' },
  })
  const read = await api.get(String(post.headers.location))
  t.strictSame([read.status, read.body], [200, post.body], 'the post is where Location says')

  const counted = await until(
    () => api.get(`/api/users/${user.id}`),
    ({ body }) => body.data.postCount > 0,
  )
  t.equal(counted.body.data.postCount, 1, 'the post is counted')

  const list = await until(
    () => api.get('/api/notifications', { token }),
    ({ body }) => body.data.length > 0,
  )
  t.match(list.body, { data: [{ kind: 'welcome', text: 'Welcome to Seam, Ada!', readAt: null }], page: { next: null } })
  t.equal(list.body.data.length, 1, 'one welcome, whatever was delivered twice')
  t.equal(api.target.smtp.mails.filter(({ to }) => to.includes(email)).length, 1, 'and one mail')
}
