import t from 'tap'
import { newId } from '../../../src/platform/kit/tables.ts'
import { connect } from '../../api/client.ts'
import { startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'
import { UsersDouble } from './users-double.ts'

t.setTimeout(240_000)
t.test('others are told of what everybody can see, and of nothing else', async (t) => {
  const users = new UsersDouble()
  const topology = await startTopology({ catalogue: users.catalogue })
  t.teardown(() => topology.close())
  const api = connect(t, { url: topology.url, operate: topology.operate, smtp: undefined as never, secret: '' })
  const [ada, bob] = [newId(), newId()]
  users.known.set(ada, { firstName: 'Ada', lastName: 'Lovelace' })
  users.known.set(bob, { firstName: 'Bob', lastName: 'Reader' })
  const ask = async (userId: string) => ({
    token: (await api.post('/api/auth/login', { userId })).body.token as string,
  })
  const [author, reader] = [await ask(ada), await ask(bob)]

  const made = await api.post('/api/posts', { title: 'Draft', content: 'C', status: 'draft' }, author)
  const { id } = made.body.data
  // In capitals it is the same post, and the same key of its events.
  const path = `/api/posts/${id.toUpperCase()}`
  const change = (json: object) => api.send('PATCH', path, { ...author, json })
  await api.post(`${path}/comments`, { content: 'To myself.' }, author)
  await change({ title: 'Title' })
  await api.send('POST', `${path}/publish`, author)
  await api.send('POST', `${path}/publish`, author)
  await change({ title: 'Better title', tags: ['a'] })
  const comment = await api.post(`${path}/comments`, { content: `${'👩‍👩‍👧'.repeat(100)}` }, reader)
  await change({ status: 'draft' })
  await change({ status: 'published', content: 'Again.' })
  await api.send('DELETE', path, author)
  await api
    .post('/api/posts', { title: 'Gone', content: 'C', status: 'draft' }, author)
    .then(({ headers }) => api.send('DELETE', String(headers.location), author))

  await until('the last is told', () => users.heard.length >= 5)
  // All have one key, so their numbers say in which order they were told; they may arrive in another.
  const told = users.heard.toSorted((a, b) => a.sequence - b.sequence)
  t.match(told, [
    { name: 'post.created', data: { postId: id, authorId: ada, title: 'Title' } },
    {
      name: 'comment.created',
      data: {
        commentId: comment.body.data.id,
        postId: id,
        postTitle: 'Better title',
        postAuthorId: ada,
        authorId: bob,
        authorName: 'Bob Reader',
        excerpt: /^[^\ufffd]+…$/,
      },
    },
    { name: 'post.deleted', data: { postId: id, authorId: ada } },
    { name: 'post.created', data: { postId: id, authorId: ada, title: 'Better title' } },
    { name: 'post.deleted', data: { postId: id, authorId: ada } },
  ])
  t.equal(users.heard.length, 5)
})
