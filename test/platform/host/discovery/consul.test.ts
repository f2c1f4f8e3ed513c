import t, { type Test } from 'tap'
import { consulDiscovery } from '../../../../src/platform/host/discovery/consul.ts'
import { type Consul, startConsul } from '../../../support/consul.ts'
import { startEndpoint } from '../../../support/endpoint.ts'
import { freePorts } from '../../../support/ports.ts'
import { until } from '../../../support/until.ts'
import { readableLog } from './log.ts'

const TOKEN = 'a token that nobody may see'

async function discover(
  t: Test,
  options: { consul?: Consul; token?: string; wanted?: string[]; hosted?: string[]; prefix?: string } = {},
) {
  const consul = options.consul ?? (await startConsul())
  if (!options.consul) t.teardown(() => consul.close())
  const { log, lines } = readableLog()
  const discovery = consulDiscovery({
    url: consul.url,
    token: options.token,
    address: '127.0.0.1',
    serviceOf: (module) => `${options.prefix ?? ''}${module}`,
    wanted: options.wanted ?? ['users'],
    hosted: options.hosted ?? [],
    log,
  })
  t.teardown(() => discovery.close())
  return {
    consul,
    discovery,
    lines,
    endpoints: () => discovery.endpointsOf('users'),
    origins: () => discovery.endpointsOf('users').map(({ origin }) => origin),
    count: (what: RegExp) => consul.requests.filter((request) => what.test(request)).length,
  }
}

// They wait for time to pass, not for the machine.
t.jobs = 6

const plain = (origin: string) => ({ origin, weight: 1, priority: 0 })
const question = /^GET \/v1\/health\/service\/users\?/

t.test('the healthy instances of a service are found, with their weights', { buffered: true }, async (t) => {
  const consul = await startConsul({ address: 'fd00::7' })
  t.teardown(() => consul.close())
  consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 8000 })
  consul.add({ ID: 'u2', Name: 'users', Address: '10.0.0.2', Port: 8001, Weights: { Passing: 5, Warning: 1 } })
  consul.add({ ID: 'u3', Name: 'users', Address: '10.0.0.3', Port: 8000, status: 'critical' })
  consul.add({ ID: 'u4', Name: 'users', Port: 8002 })
  consul.add({ ID: 'u5', Name: 'users', Address: '10.0.0.5', Port: 0 })
  consul.add({ ID: 'u6', Name: 'users', Address: 'no address', Port: 8000 })
  consul.add({ ID: 'p1', Name: 'posts', Address: '10.0.0.9', Port: 8000 })
  const { discovery, endpoints } = await discover(t, { consul })
  await discovery.start()
  t.strictSame(endpoints(), [
    plain('http://10.0.0.1:8000'),
    { origin: 'http://10.0.0.2:8001', weight: 5, priority: 0 },
    plain('http://[fd00::7]:8002'),
  ])
  t.strictSame(discovery.endpointsOf('posts'), [], 'nobody asked for these')
})

t.test(
  'a change is heard at once, by blocking queries, and the list is the same one until then',
  { buffered: true },
  async (t) => {
    const { consul, discovery, origins, endpoints, count } = await discover(t)
    consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
    await discovery.start()
    await until('it waits', () => count(/index=101&wait=20s/) === 1)
    const before = endpoints()
    const began = performance.now()
    consul.add({ ID: 'u2', Name: 'users', Address: '10.0.0.2', Port: 1 })
    await until('the new instance', () => origins().length === 2)
    t.ok(performance.now() - began < 1_000)
    t.strictSame(before, [plain('http://10.0.0.1:1')], 'the old list is as it was')
    const after = endpoints()
    await until('it waits again', () => count(/index=102&wait=20s/) === 1)
    consul.wake()
    await until('it waits once more', () => count(/index=102&wait=20s/) === 2)
    t.equal(endpoints(), after, 'the same answer changes nothing')
    consul.remove('u1')
    await until('the old instance has gone', () => origins().join() === 'http://10.0.0.2:1')
  },
)

t.test('an index that goes backwards begins anew', { buffered: true }, async (t) => {
  const { consul, discovery, origins, count } = await discover(t)
  consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
  await discovery.start()
  await until('it waits', () => count(/index=101/) === 1)
  consul.rewind()
  await until('it asks without an index', () => count(/passing=true$/) === 2)
  await until('it waits for the new one', () => count(/index=10&/) === 1)
  consul.add({ ID: 'u2', Name: 'users', Address: '10.0.0.2', Port: 1 })
  await until('it hears of changes', () => origins().length === 2)
})

t.test(
  'an agent that answers at once, over and over, is asked four times a second at most',
  { buffered: true },
  async (t) => {
    const { consul, discovery, count } = await discover(t)
    consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
    await discovery.start()
    const began = performance.now()
    const before = count(question)
    await until('it has been asked five times more', () => {
      consul.wake()
      return count(question) >= before + 5
    })
    t.ok(performance.now() - began > 900, `${performance.now() - began} ms`)
  },
)

const wrong: Parameters<Consul['answer']>[0][] = [
  { status: 500, text: 'No cluster leader' },
  { status: 200, text: 'garbage' },
  { status: 200, text: '{"Service":[]}' },
  { status: 200, text: '[{"Service":{"Port":"x"}}]' },
  { status: 200, text: '[]' },
]

t.test('when none is left or the agent is away, what was known last holds', { buffered: true }, async (t) => {
  const one = async (answer: (typeof wrong)[number]) => {
    const what = answer === undefined ? 'away' : JSON.stringify(answer)
    const { consul, discovery, endpoints, lines, count } = await discover(t)
    consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
    await discovery.start()
    const before = endpoints()
    await until('it waits', () => count(/index=/) === 1)
    if (answer === undefined) await consul.stop()
    consul.answer(answer)
    consul.wake()
    const asked = count(question)
    await until('it is missed', () => {
      consul.wake()
      return lines.length > 0
    })
    if (answer) await until('it has been asked again', () => count(question) > asked)
    t.equal(endpoints(), before, what)
    consul.answer(undefined)
    if (answer === undefined) await consul.restart()
    consul.remove('u1')
    consul.add({ ID: 'u2', Name: 'users', Address: '10.0.0.2', Port: 1 })
    await until('the new instance', () => endpoints() !== before)
    t.strictSame(endpoints(), [plain('http://10.0.0.2:1')], what)
    t.strictSame(
      lines,
      [
        'warn users: Consul does not find instances of the module: those known last are asked meanwhile',
        'info users: Consul finds instances of the module again',
      ],
      what,
    )
  }
  await Promise.all([...wrong, undefined].map(one))
})

t.test('hosted modules are registered with a check of readiness, and deregistered', { buffered: true }, async (t) => {
  const [port] = await freePorts(1)
  const ready = await startEndpoint()
  t.teardown(() => ready.close())
  const opsPort = Number(new URL(ready.url).port)
  const consul = await startConsul({ token: TOKEN })
  t.teardown(() => consul.close())
  const options = { consul, token: TOKEN, prefix: 'shop-' }
  const { discovery } = await discover(t, { ...options, wanted: [], hosted: ['users', 'posts'] })
  const other = await discover(t, options)
  await other.discovery.start()
  t.strictSame(other.origins(), [])
  await discovery.start()
  await discovery.register({ port: port!, opsPort })
  t.strictSame([...consul.services.values()].map(({ Name }) => Name).sort(), ['shop-posts', 'shop-users'])
  t.match(consul.services.get(`shop-users-127.0.0.1-${port}`), {
    Address: '127.0.0.1',
    Port: port,
    Check: { HTTP: `${ready.url}/readyz`, Status: 'passing', DeregisterCriticalServiceAfter: '1m' },
  })
  await until('others know it', () => other.origins().join() === `http://127.0.0.1:${port}`)
  await until('it is checked', () => ready.received.some(({ path }) => path === '/readyz'))
  const began = performance.now()
  await discovery.deregister()
  t.ok(performance.now() - began < 2_000, 'bounded')
  t.equal(consul.services.size, 0)
  await discovery.deregister()
  t.pass('may be said again')
})

t.test('deregistration ends when others have heard of it', { buffered: true }, async (t) => {
  const { consul, discovery } = await discover(t, { wanted: [], hosted: ['users'] })
  const other = await discover(t, { consul })
  const ready = await startEndpoint()
  t.teardown(() => ready.close())
  consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
  await other.discovery.start()
  await discovery.register({ port: 8000, opsPort: Number(new URL(ready.url).port) })
  await until('others know it', () => other.origins().length === 2)
  await discovery.deregister()
  t.strictSame(other.origins(), ['http://10.0.0.1:1'])
})

t.test(
  'an agent that has lost everything is told again, as long as the process serves',
  { buffered: true },
  async (t) => {
    const ready = await startEndpoint()
    t.teardown(() => ready.close())
    const { consul, discovery, lines, count } = await discover(t, { wanted: [], hosted: ['users'] })
    await discovery.register({ port: 8000, opsPort: Number(new URL(ready.url).port) })
    t.equal(consul.services.size, 1)
    await consul.restart()
    t.equal(consul.services.size, 0)
    await until('it is registered again', () => consul.services.size === 1)
    await consul.stop()
    await until('it is missed', () => lines.some((line) => line.startsWith('warn')))
    await consul.restart()
    await until('it is registered once more', () => consul.services.size === 1)
    await discovery.deregister()
    const asked = count(/^PUT .*register$/)
    await consul.restart()
    const other = await discover(t, { consul, wanted: [], hosted: ['posts'] })
    await other.discovery.register({ port: 8001, opsPort: 9001 })
    await until('more than the time of a look has gone', () => count(/^GET .*posts-127/) >= 1)
    t.equal(count(/^PUT .*register$/), asked + 1, 'only the other one')
    t.strictSame(lines, [
      'info users: this process is registered with Consul again',
      'warn users: this process cannot be registered with Consul yet',
      'info users: this process is registered with Consul again',
    ])
  },
)

t.test(
  'an agent that is away, hangs, or refuses the token holds up neither start nor end',
  { buffered: true },
  async (t) => {
    const away = await startConsul()
    await away.close()
    const hanging = await startConsul()
    t.teardown(() => hanging.close())
    hanging.answer('hang')
    const refusing = await startConsul({ token: TOKEN })
    t.teardown(() => refusing.close())
    const all = Object.entries({ away, hanging, refusing }).map(async ([what, consul]) => {
      const { discovery, lines, origins } = await discover(t, { consul, token: `not ${TOKEN}`, hosted: ['posts'] })
      const began = performance.now()
      await discovery.start()
      await discovery.register({ port: 8000, opsPort: 9000 })
      await discovery.deregister()
      await discovery.close()
      t.ok(performance.now() - began < 8_000, `${what}: ${Math.round(performance.now() - began)} ms`)
      t.strictSame(origins(), [])
      t.strictSame(
        lines.filter((line) => !line.includes('was not told')).sort(),
        [
          'warn posts: this process cannot be registered with Consul yet',
          'warn users: Consul does not find instances of the module: it cannot be asked yet',
        ],
        what,
      )
      t.notMatch(lines.join(), TOKEN)
    })
    await Promise.all(all)
  },
)

t.test('after it is closed nobody asks any more, and nothing is logged', { buffered: true }, async (t) => {
  const { consul, discovery, lines, count } = await discover(t, { hosted: ['posts'] })
  consul.add({ ID: 'u1', Name: 'users', Address: '10.0.0.1', Port: 1 })
  await discovery.start()
  await until('it waits', () => count(/index=/) === 1)
  await discovery.close()
  const before = consul.requests.length
  const other = await discover(t, { consul })
  await other.discovery.start()
  for (let n = 0; n < 3; n++) {
    const asked = consul.requests.length
    await until('the other one waits', () => {
      consul.wake()
      return consul.requests.length > asked
    })
  }
  t.equal(consul.requests.slice(before).filter((request) => request.endsWith('passing=true')).length, 1)
  t.strictSame(lines, [])
})
