import postgres from 'postgres'
import t from 'tap'
import { connect, refused } from '../../api/client.ts'
import { startTopology } from '../../support/topology.ts'
import { until } from '../../support/until.ts'

t.setTimeout(240_000)
t.test('while users is away, posts and comments are read and written', async (t) => {
  const topology = await startTopology({ outside: ['users'] })
  const sql = postgres(topology.databaseUrl, { max: 1, onnotice: () => {} })
  t.teardown(async () => {
    await sql.end()
    await topology.close()
  })
  const api = connect(t, { url: topology.url, operate: topology.operate, smtp: undefined as never, secret: '' })
  const ada = await api.register('Ada')
  await until('posts has heard of the user', async () => {
    return (await sql`select from posts.authors where id = ${ada.id}`).length > 0
  })
  await topology.apps.get('users')!.close()
  const path = `/api/users/${ada.id}`
  refused(t, await api.get(path), { status: 503, code: 'Unavailable', module: 'users', path })

  const made = await api.post('/api/posts', { title: 'Alone', content: 'Nobody is at home.', status: 'draft' }, ada)
  t.match([made.status, made.body.data?.author], [201, { id: ada.id, firstName: 'Ada', lastName: 'Lovelace' }])
  const post = `/api/posts/${made.body.data.id}`
  t.equal((await api.send('POST', `${post}/publish`, ada)).status, 200)
  t.equal((await api.send('PATCH', post, { ...ada, json: { tags: ['alone'] } })).status, 200)
  const comment = await api.post(`${post}/comments`, { content: 'Still nobody.' }, ada)
  t.equal(comment.status, 201)
  for (const read of [post, String(comment.headers.location), `${post}/comments`, '/api/posts', '/api/posts?q=nobody'])
    t.equal((await api.get(read)).status, 200, read)
  t.equal((await api.get('/api/posts?tag=alone')).body.data.length, 1)
  t.equal((await api.send('DELETE', String(comment.headers.location), ada)).status, 204)
  t.equal((await api.send('DELETE', post, ada)).status, 204)
})
