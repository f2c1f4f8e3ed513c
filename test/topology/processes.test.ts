import t, { type Test } from 'tap'
import { type Api, CONNECTIONS, connect, refused, until } from '../api/client.ts'
import { story } from '../api/story.ts'
import { type Exit, SeamProcess } from '../support/processes.ts'
import { startSmtp } from '../support/smtp.ts'
import { freshState, planTopology, type TopologyOptions } from '../support/topology.ts'

const SECRET = 'the secret of real processes, of enough length'

t.setTimeout(400_000)

t.test('one process serves all modules, and ends cleanly when it is told to', async (t) => {
  const { api, processes } = await start(t, { queue: 'postgres' })
  const { main } = processes
  t.match(main!.output, /^ {2}Modules +users, posts, notifications\b/m)
  t.match(main!.output, `${api.target.url}/docs`)
  t.notMatch(main!.output, SECRET, 'it says no secrets')
  await t.test('story', (t) => story(t, api))
  endsCleanly(t, await main!.end('SIGTERM'))
})

t.test('a gateway and three services are one system', async (t) => {
  t.setTimeout(240_000)
  const outside = ['users', 'posts', 'notifications']
  const { api, processes, urls } = await start(t, { queue: 'redis', outside })
  const { main, users, posts, notifications } = processes
  t.match(main!.output, /^ {2}Modules +none, a pure gateway\b/m)
  await t.test('story', (t) => story(t, api))

  await t.test('a service answers only processes of its own system', async (t) => {
    const service = connect(t, { ...api.target, url: urls.posts! })
    const ada = await api.register('Ada')
    const { data } = (await api.post('/api/posts', { title: 'T', content: 'C' }, ada)).body
    const credentials = { nothing: {}, 'a bearer token': { token: ada.token }, 'a cookie': { cookie: ada.cookie } }
    for (const [what, ask] of Object.entries(credentials)) {
      for (const path of ['/api/posts', `/api/posts/${data.id}`, '/api/posts/none/at/all']) {
        const answer = await service.get(path, ask)
        refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path }, `${what}, GET ${path}`)
      }
      const answer = await service.post('/api/posts', { title: 'T', content: 'C' }, ask)
      refused(t, answer, { status: 401, code: 'Unauthenticated', module: 'seam', path: '/api/posts' }, what)
    }
    for (const path of ['/openapi.json', '/docs', '/api/health', `/api/users/${ada.id}`]) {
      refused(t, await service.get(path), { status: 404, code: 'NotFound', module: 'seam', path }, path)
    }
  })

  await t.test('a service that is killed is missed by name, and the others go on', async (t) => {
    const ada = await api.register('Ada')
    posts!.signal('SIGKILL')
    await posts!.exit()
    const gone = { status: 503, code: 'Unavailable', module: 'posts', path: '/api/posts' }
    for (const ask of [{}, { token: ada.token }]) {
      const started = performance.now()
      const answer = await api.get('/api/posts', ask)
      refused(t, answer, gone)
      t.match(answer.body.detail, '"posts"')
      t.match(answer.headers['retry-after'], /^[1-9]\d*$/)
      t.ok(performance.now() - started < 2_000, 'at once')
    }
    refused(t, await api.post('/api/posts', { title: 'T', content: 'C' }, ada), gone)
    t.equal((await api.get(`/api/users/${ada.id}`)).status, 200)
    t.equal((await api.register('Eve')).token.length > 0, true)
    t.equal((await api.get('/api/notifications', ada)).status, 200)
    const health = await api.get('/api/health')
    t.equal(health.status, 503)
    t.match(health.body, {
      status: 'degraded',
      services: {
        users: { status: 'healthy' },
        posts: { status: 'unavailable', code: 'Unavailable' },
        notifications: { status: 'healthy' },
      },
    })

    await posts!.restart()
    const back = await until(
      () => api.get('/api/health'),
      ({ status }) => status === 200,
    )
    t.equal(back.body.status, 'healthy')
    const post = await api.post('/api/posts', { title: 'Back', content: 'Words.' }, ada)
    t.equal(post.status, 201)
    const counted = await until(
      () => api.get(`/api/users/${ada.id}`),
      ({ body }) => body.data.postCount > 0,
    )
    t.equal(counted.body.data.postCount, 1)
  })

  await t.test('a service that hangs keeps nobody waiting past the deadline', async (t) => {
    const ada = await api.register('Ada')
    notifications!.signal('SIGSTOP')
    try {
      const started = performance.now()
      const hanging = [api.get('/api/notifications', ada), api.post('/api/notifications', {}, ada)].map(
        async (asked) => {
          const answer = await asked
          return { answer, took: performance.now() - started }
        },
      )
      const health = await api.get('/api/health')
      t.ok(performance.now() - started < 1_000, 'health answers within a second')
      t.equal(health.status, 503)
      t.match(health.body.services, {
        users: { status: 'healthy' },
        posts: { status: 'healthy' },
        notifications: { status: 'unavailable', code: 'DeadlineExceeded' },
      })
      t.equal((await api.get('/api/posts')).status, 200, 'others answer')
      for (const { answer, took } of await Promise.all(hanging)) {
        const path = '/api/notifications'
        refused(t, answer, { status: 503, code: 'DeadlineExceeded', module: 'notifications', path })
        t.ok(took > 9_000 && took < 11_500, `by the deadline of 10 s (${Math.round(took)} ms)`)
      }
    } finally {
      notifications!.signal('SIGCONT')
    }
    const list = await until(
      () => api.get('/api/notifications', ada),
      ({ status, body }) => status === 200 && body.data.length > 0,
    )
    t.equal(list.status, 200, 'and when it goes on, all is well')
    t.equal(list.body.data.length, 1)
  })

  await t.test('all end cleanly, in any order', async (t) => {
    const all = [users!, main!, posts!, notifications!]
    for (const exit of await Promise.all(all.map((one) => one.end('SIGTERM')))) endsCleanly(t, exit)
  })
})

t.test('Ctrl-C ends a process cleanly, and answers first what clients have asked', async (t) => {
  const { api, processes } = await start(t, { queue: 'postgres', env: { NODE_ENV: 'production' } })
  const many = <T>(ask: () => Promise<T>) => Promise.all(Array.from({ length: CONNECTIONS }, ask))
  // Opens all connections that the client will have. On a slow machine health may take too long for a 200.
  await many(() => api.get('/api/health'))
  const underWay = many(() => api.register('Late'))
  endsCleanly(t, await processes.main!.end('SIGINT'))
  t.equal((await underWay).length, CONNECTIONS, 'all are answered')
})

t.test('a second process of the same placement shares the work', async (t) => {
  const state = await freshState('redis')
  t.teardown(() => state.close())
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const env = { SMTP_URL: smtp.url, SECRET, LOG_LEVEL: 'warn' }
  const plans = await Promise.all([1, 2].map(() => planTopology({ state: state.env, env })))
  // Both begin at the same moment, on an empty database.
  const replicas = plans.map(({ processes: [main] }, n) => SeamProcess.start(t, `replica ${n + 1}`, main!.env))
  await Promise.all(replicas.map((replica) => replica.ready()))
  const [one, two] = plans.map(({ url }) => connect(t, { url, smtp, secret: SECRET }))
  const ada = await one!.register('Ada')
  for (const ask of [{ token: ada.token }, { cookie: ada.cookie }]) {
    t.equal((await two!.get(`/api/users/${ada.id}`, ask)).body.data.email, ada.email, 'signed in at both')
  }
  const posts = await Promise.all(
    [one!, two!, one!, two!].map((api) => api.post('/api/posts', { title: 'T', content: 'C' }, ada)),
  )
  t.strictSame(
    posts.map(({ status }) => status),
    [201, 201, 201, 201],
  )
  const counted = await until(
    () => two!.get(`/api/users/${ada.id}`),
    ({ body }) => body.data.postCount >= 4,
  )
  t.equal(counted.body.data.postCount, 4)
  for (const exit of await Promise.all(replicas.map((replica) => replica.end('SIGTERM')))) endsCleanly(t, exit)
})

t.test('what is wrong with the environment is said at once, and nothing is started', async (t) => {
  const failed = async (env: Record<string, string>) => {
    const process = SeamProcess.start(t, JSON.stringify(env), env)
    const { code } = await process.exit()
    t.equal(code, 1)
    t.notMatch(process.output, /\bat .*:\d+:\d+/, 'a message, no stack')
    return process.output
  }
  const [unknown, faulty, unreachable, taken] = await Promise.all([
    failed({ MODULES: 'users,billing' }),
    failed({
      MODULES: 'posts,shipping',
      PORT: 'http',
      EDGE: 'perhaps',
      DATABASE_URL: 'mysql://seam:hunter2@db/seam',
      REDIS_URL: '127.0.0.1',
      SECRET: 'too short to be one',
      RATE_LIMIT: '0',
      LOG_LEVEL: 'loud',
      TRUST_PROXY: 'everybody',
      USERS_URL: 'users:8000',
      SMTP_URL: 'mail',
      NODE_ENV: 'production',
    }),
    failed({ MODULES: 'posts', SECRET, DATABASE_URL: 'postgres://127.0.0.1:1/none' }),
    failed({ NODE_ENV: 'production' }),
  ])
  t.match(unknown, /MODULES.*"billing".*\n/)
  t.match(unknown, 'Known: users, posts, notifications')
  const names = ['MODULES', 'PORT', 'EDGE', 'DATABASE_URL', 'REDIS_URL', 'SECRET', 'RATE_LIMIT', 'LOG_LEVEL']
  for (const name of [...names, 'TRUST_PROXY', 'USERS_URL', 'SMTP_URL']) {
    t.match(faulty, new RegExp(`^ +- ${name} .*Example: ${name}=`, 'm'), name)
  }
  t.notMatch(faulty, /hunter2|too short to be one/, 'but no secrets')
  t.match(unreachable, /USERS_URL is missing/)
  t.match(taken, /SECRET is missing/)
})

interface Started {
  api: Api
  /** By name: `main`, or the module that it hosts. */
  processes: Record<string, SeamProcess>
  urls: Record<string, string>
}

async function start(t: Test, options: TopologyOptions & { queue: 'redis' | 'postgres' }): Promise<Started> {
  const smtp = await startSmtp()
  t.teardown(() => smtp.close())
  const state = await freshState(options.queue)
  t.teardown(() => state.close())
  const env = { SMTP_URL: smtp.url, SECRET, LOG_LEVEL: 'warn' }
  const plan = await planTopology({ ...options, state: state.env, env })
  const processes: Record<string, SeamProcess> = {}
  const urls: Record<string, string> = {}
  for (const { name, url, env } of plan.processes) {
    processes[name] = SeamProcess.start(t, name, env)
    urls[name] = url
  }
  await Promise.all(Object.values(processes).map((process) => process.ready()))
  return { api: connect(t, { url: plan.url, smtp, secret: SECRET }), processes, urls }
}

function endsCleanly(t: Test, { code, signal, milliseconds }: Exit): void {
  t.strictSame({ code, signal }, { code: 0, signal: null }, 'ends by itself and well')
  t.ok(milliseconds < 5_000, `within 5 s (${Math.round(milliseconds)} ms)`)
}
