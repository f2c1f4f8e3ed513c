import t from 'tap'
import { connect } from './api/client.ts'
import { run } from './support/run.ts'
import { startTopology } from './support/topology.ts'
import { until } from './support/until.ts'

t.setTimeout(240_000)
t.test('npm run seed fills a database that can be used as if people had', async (t) => {
  const topology = await startTopology()
  t.teardown(() => topology.close())
  const env = { DATABASE_URL: topology.databaseUrl, NODE_ENV: undefined, REDIS_URL: undefined }
  const seed = (args: string[], more: Record<string, string> = {}) =>
    run('scripts/seed.ts', { ...env, ...more }, ['--users', '20', '--posts', '60', '--comments', '90', ...args])
  const password = 'another horse battery'
  const { code, stdout, stderr } = await seed(['--password', password])
  t.equal(code, 0, stderr)
  t.match(stdout, /^100 %\n20 users, 60 posts, 90 comments in [\d.]+ s\.$/m)
  t.match(stdout, `Sign in as user0.seed1@example.com to user19.seed1@example.com, password "${password}".`)

  const api = connect(t, { url: topology.url, operate: topology.operate, smtp: undefined as never, secret: '' })
  const login = await api.post('/api/auth/login', { email: 'user0.seed1@example.com', password })
  t.equal(login.status, 200)
  const { user, token } = login.body
  const posts = (await api.get(`/api/posts?author=${user.id}&limit=100`)).body.data
  t.equal(posts.length, user.postCount)
  t.ok(posts.length > 1)
  t.equal((await api.get('/api/posts?limit=100&q=engine')).status, 200)
  const [tag] = (await api.get('/api/tags?limit=1')).body.data
  const tagged = await api.get(`/api/posts?limit=100&tag=${encodeURIComponent(tag.name)}`)
  t.equal(tagged.body.data.length, tag.count)

  t.equal((await api.send('PATCH', '/api/profile', { token, json: { firstName: 'Somebody' } })).status, 200)
  await until('the posts have the new name', async () => {
    const { body } = await api.get(`/api/posts/${posts[0].id}`)
    return body.data.author.firstName === 'Somebody'
  })

  await t.test('the same rows come once, and others beside them', async (t) => {
    const again = await seed([])
    t.match([again.code, again.stderr], [1, /seed 1 are there already.*--seed 2/])
    t.equal((await seed(['--seed', '2'])).code, 0)
    const [same] = (await api.get(`/api/tags?limit=1&prefix=${encodeURIComponent(tag.name)}`)).body.data
    const list = await api.get(`/api/posts?limit=100&tag=${encodeURIComponent(tag.name)}`)
    t.equal(same.count, list.body.data.length, 'counts add up')
  })

  await t.test('nothing is made up in production, or of what is no number', async (t) => {
    const production = await seed(['--seed', '3'], { NODE_ENV: 'production' })
    t.match([production.code, production.stderr], [1, '--force'])
    for (const args of [
      ['--users', 'many'],
      ['--posts', '-1'],
      ['--colour', 'red'],
      ['--password', 'short'],
    ])
      t.equal((await seed(args)).code, 1, args.join(' '))
  })
})
