import pino from 'pino'
import t, { type Test } from 'tap'
import { type App, buildApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import { catalogue } from '../../src/modules/catalogue.ts'
import type { DiscoveryChoice } from '../../src/platform/host/discovery/choose.ts'
import { type Api, connect } from '../api/client.ts'
import { startConsul } from '../support/consul.ts'
import { startDnsmasq } from '../support/dnsmasq.ts'
import { freePorts } from '../support/ports.ts'
import { startSmtp } from '../support/smtp.ts'
import { freshState } from '../support/topology.ts'
import { until } from '../support/until.ts'

const SECRET = 'the secret of what is discovered, of enough length'

t.setTimeout(240_000)
// They wait for records and checks, not for the machine.
t.jobs = 3

/** What all processes share, and how to start one. */
async function system(t: Test) {
  const state = await freshState('postgres')
  const smtp = await startSmtp()
  const running = new Set<App>()
  t.teardown(async () => {
    await Promise.all([...running].map((app) => app.close()))
    await smtp.close()
    await state.close()
  })
  const start = async (env: Record<string, string>, discovery?: DiscoveryChoice) => {
    const all = { NODE_ENV: 'test', SECRET, RATE_LIMIT: '1000000', LOGIN_LIMIT: '1000000', OPS_PORT: '0', ...state.env }
    const config = readConfig({ ...all, ...env }, catalogue)
    const app = await buildApp({ ...config, ...(discovery && { discovery }) }, pino({ level: 'silent' }))
    running.add(app)
    let served = 0
    app.api.server.on('request', () => served++)
    const { api: url } = await app.listen()
    return { app, url, served: () => served }
  }
  return { start, connect: (url: string) => connect(t, { url, smtp, secret: SECRET }) }
}

/** Asks over and over, what the edge passes on and what it calls for by itself; remembers what failed. */
async function loop(api: Api) {
  const ada = await api.register('Ada')
  const post = await api.post('/api/posts', { title: 'T', content: 'C' }, { token: ada.token })
  const failures: string[] = []
  let good = 0
  let going = true
  const asks = [
    () => api.get(`/api/users/${ada.id}`),
    () => api.get('/api/profile', { token: ada.token }),
    () => api.get(`/api/posts/${post.body.data.id}`, { token: ada.token }),
  ]
  const workers = asks.map(async (ask) => {
    while (going) {
      const { status, text } = await ask()
      if (status === 200) good++
      else failures.push(`${status} ${text}`)
    }
  })
  return {
    failures,
    good: () => good,
    /** All go on until so many more have been answered. */
    async more(count: number) {
      const from = good
      await until(`${count} more requests`, () => failures.length > 0 || good >= from + count)
    },
    async end() {
      going = false
      await Promise.all(workers)
    },
  }
}

t.test('static: the instances that are listed share the work', { buffered: true }, async (t) => {
  const { start, connect } = await system(t)
  const [one, two] = [await instance(start), await instance(start)]
  const edge = await start({ PORT: '0', MODULES: 'posts,notifications', USERS_URL: `${one.url},${two.url}` })
  const asking = await loop(connect(edge.url))
  await asking.more(300)
  // One that is slow at first, as it may be on a busy machine, is left alone for a while.
  await until('both have served', () => one.served() > 10 && two.served() > 10)
  await asking.end()
  t.strictSame(asking.failures, [])
})

t.test('dns: instances come and go without a failed request', { buffered: true }, async (t) => {
  const { start, connect } = await system(t)
  const dns = await startDnsmasq({ hosts: { 'users.test': ['127.0.0.2'] } })
  t.teardown(() => dns.close())
  const [port] = await freePorts(1)
  const at = (HOST: string) => start({ HOST, PORT: `${port}`, MODULES: 'users', EDGE: 'false' })
  const one = await at('127.0.0.2')
  const env = { PORT: '0', MODULES: 'posts,notifications', DISCOVERY: 'dns', USERS_URL: `http://users.test:${port}` }
  const edge = await start(env, { kind: 'dns', servers: [dns.server] })
  const asking = await loop(connect(edge.url))
  await asking.more(30)
  const two = await at('127.0.0.3')
  await dns.rehost({ 'users.test': ['127.0.0.2', '127.0.0.3'] })
  await until('the new one is asked', () => two.served() > 10)
  await dns.rehost({ 'users.test': ['127.0.0.3'] })
  await quiet(one, asking)
  await one.app.close()
  await asking.more(60)
  await asking.end()
  t.strictSame(asking.failures, [])
})

t.test(
  'consul: instances come and go, and the agent is restarted, without a failed request',
  { buffered: true },
  async (t) => {
    const { start, connect } = await system(t)
    const consul = await startConsul()
    t.teardown(() => consul.close())
    const env = { DISCOVERY: 'consul', CONSUL_URL: consul.url, USERS_URL: 'consul://shop-users' }
    const users = () => instance(start, env)
    const one = await users()
    const edge = await start({ ...env, PORT: '0', MODULES: 'posts,notifications' })
    t.strictSame([...new Set([...consul.services.values()].map(({ Name }) => Name))].sort(), [
      'notifications',
      'posts',
      'shop-users',
    ])
    const asking = await loop(connect(edge.url))
    await asking.more(30)
    const two = await users()
    await until('the new one is asked', () => two.served() > 10)
    await one.app.close()
    await asking.more(60)
    t.strictSame(asking.failures, [], 'a process that ends is missed by nobody')
    await consul.restart()
    await asking.more(60)
    await until('all are registered again', () => consul.services.size === 3)
    const three = await users()
    await until('a new one is asked', () => three.served() > 10)
    await two.app.close()
    await asking.more(60)
    await asking.end()
    t.strictSame(asking.failures, [])
  },
)

type Start = Awaited<ReturnType<typeof system>>['start']
type Instance = Awaited<ReturnType<Start>>

const instance = (start: Start, env: Record<string, string> = {}): Promise<Instance> =>
  start({ PORT: '0', MODULES: 'users', EDGE: 'false', ...env })

/** Waits until an instance is asked no more, while others are. */
async function quiet(one: Instance, asking: { more(count: number): Promise<void> }): Promise<void> {
  await until('it is asked no more', async () => {
    const before = one.served()
    await asking.more(60)
    return one.served() === before
  })
}
