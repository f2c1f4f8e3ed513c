import t, { type Test } from 'tap'
import { dnsDiscovery } from '../../../../src/platform/host/discovery/dns.ts'
import { type Records, startDnsmasq } from '../../../support/dnsmasq.ts'
import { until } from '../../../support/until.ts'
import { readableLog } from './log.ts'

// They wait for TTLs, not for the machine.
t.jobs = 6

async function discover(t: Test, records: Records, ...urls: string[]) {
  const dns = await startDnsmasq(records)
  t.teardown(() => dns.close())
  const { log, lines } = readableLog()
  const discovery = dnsDiscovery({ urls: new Map([['users', urls]]), servers: [dns.server], log })
  t.teardown(() => discovery.close())
  await discovery.start()
  return {
    dns,
    discovery,
    lines,
    endpoints: () => discovery.endpointsOf('users'),
    origins: () => discovery.endpointsOf('users').map(({ origin }) => origin),
  }
}

const plain = (origin: string) => ({ origin, weight: 1, priority: 0 })

t.test(
  'each address of a name is an instance, of both kinds, at the port of the variable',
  { buffered: true },
  async (t) => {
    const hosts = { 'users.test': ['127.0.0.2', '127.0.0.3', 'fd00::5'], 'posts.test': ['127.0.0.9'] }
    const { endpoints, discovery } = await discover(t, { hosts }, 'http://users.test:8000')
    t.strictSame(endpoints(), ['http://127.0.0.2:8000', 'http://127.0.0.3:8000', 'http://[fd00::5]:8000'].map(plain))
    t.strictSame(discovery.endpointsOf('posts'), [])
  },
)

t.test('a name with addresses of one kind only has these', { buffered: true }, async (t) => {
  const hosts = { 'four.test': ['127.0.0.2'], 'six.test': ['::1'] }
  const { origins, lines } = await discover(t, { hosts }, 'http://four.test:1', 'http://six.test')
  t.strictSame(origins(), ['http://127.0.0.2:1', 'http://[::1]'])
  t.strictSame(lines, [])
})

t.test('SRV records give port, priority and weight', { buffered: true }, async (t) => {
  const { endpoints } = await discover(
    t,
    {
      hosts: { 'one.test': ['127.0.0.2', 'fd00::5'], 'two.test': ['127.0.0.3'] },
      services: { '_http._tcp.users.test': ['one.test:8001:10:60', 'two.test:8002:20:0', 'gone.test:8003:10:1'] },
    },
    'srv://_http._tcp.users.test',
  )
  t.strictSame(endpoints(), [
    { origin: 'http://127.0.0.2:8001', weight: 60, priority: 10 },
    { origin: 'http://127.0.0.3:8002', weight: 0, priority: 20 },
    { origin: 'http://[fd00::5]:8001', weight: 60, priority: 10 },
  ])
})

t.test('with https instances keep their names, to which certificates are made out', { buffered: true }, async (t) => {
  const services = { '_https._tcp.users.test': ['one.test:8443:1:2', 'two.test:443:1:3'] }
  const { endpoints, dns } = await discover(t, { services }, 'srv://_https._tcp.users.test', 'https://users.test:9443')
  t.strictSame(endpoints(), [
    { origin: 'https://one.test:8443', weight: 2, priority: 1 },
    { origin: 'https://two.test', weight: 3, priority: 1 },
    plain('https://users.test:9443'),
  ])
  t.notOk(dns.questions.some((question) => question.includes('one.test')))
})

t.test('what is an address already is not looked up', { buffered: true }, async (t) => {
  const { origins, dns } = await discover(t, {}, 'http://127.0.0.2:8000', 'http://[::1]:8000')
  t.strictSame(origins(), ['http://127.0.0.2:8000', 'http://[::1]:8000'])
  t.notOk(dns.questions.some((question) => !question.includes('mark-')))
})

t.test(
  'a change is seen when the TTL is over, and the list is the same one until then',
  { buffered: true },
  async (t) => {
    const { dns, endpoints, origins } = await discover(
      t,
      { hosts: { 'users.test': ['127.0.0.2'] } },
      'http://users.test:1',
    )
    const before = endpoints()
    await dns.rehost({ 'users.test': ['127.0.0.3', '127.0.0.2'] })
    const asked = dns.questions.length
    await until('it has been asked again', () => dns.questions.length > asked)
    await until('the new instance', () => origins().length === 2)
    t.strictSame(
      before.map(({ origin }) => origin),
      ['http://127.0.0.2:1'],
      'the old list is as it was',
    )
    const after = endpoints()
    const turns = () => dns.questions.filter((question) => question === 'query[A] users.test').length
    const now = turns()
    await until('it has been asked twice more', () => turns() > now + 1)
    t.equal(endpoints(), after, 'an answer that says the same changes nothing, in whatever order')
    await dns.rehost({ 'users.test': ['127.0.0.3'] })
    await until('the old instance has gone', () => origins().join() === 'http://127.0.0.3:1')
  },
)

t.test('SRV records that change are seen, too', { buffered: true }, async (t) => {
  const hosts = { 'one.test': ['127.0.0.2'], 'two.test': ['127.0.0.3'] }
  const service = '_http._tcp.users.test'
  const records = { hosts, services: { [service]: ['one.test:8001:1:1'] } }
  const { dns, endpoints } = await discover(t, records, `srv://${service}`)
  await dns.restart({ hosts, services: { [service]: ['one.test:8001:1:5', 'two.test:8002:2:1'] } })
  await until('the new records', () => endpoints().length === 2)
  t.strictSame(endpoints(), [
    { origin: 'http://127.0.0.2:8001', weight: 5, priority: 1 },
    { origin: 'http://127.0.0.3:8002', weight: 1, priority: 2 },
  ])
})

t.test('a long TTL is kept to', { buffered: true }, async (t) => {
  const { dns } = await discover(t, { hosts: { 'users.test': ['127.0.0.2'] }, ttl: 600 }, 'http://users.test:1')
  const other = dnsDiscovery({
    urls: new Map([['posts', ['http://posts.test:1']]]),
    servers: [dns.server],
    log: readableLog().log,
  })
  t.teardown(() => other.close())
  const count = (name: string) => dns.questions.filter((question) => question === `query[A] ${name}`).length
  await other.start()
  // The other one fails, so it asks again after 1 s and 2 s.
  await until('more than two seconds have gone', () => count('posts.test') > 2)
  t.equal(count('users.test'), 1)
})

t.test(
  'while DNS fails, what it said last holds; that is logged once, and once when it is well again',
  { buffered: true },
  async (t) => {
    const records = { hosts: { 'users.test': ['127.0.0.2', '127.0.0.3'] } }
    const { dns, endpoints, lines } = await discover(t, records, 'http://users.test:8000')
    const before = endpoints()
    await dns.restart({})
    await until('it is missed', () => lines.length > 0)
    const turns = () => dns.questions.filter((question) => question === 'query[A] users.test').length
    const now = turns()
    await until('it has been asked once more', () => turns() > now)
    t.equal(endpoints(), before)
    await dns.restart({ hosts: { 'users.test': ['127.0.0.4'] } })
    await until('it is back', () => endpoints() !== before)
    t.strictSame(endpoints(), [plain('http://127.0.0.4:8000')])
    t.strictSame(lines, [
      'warn users: DNS does not find instances of the module: those known last are asked meanwhile',
      'info users: DNS finds instances of the module again',
    ])
  },
)

t.test('a server that is away fails nothing but the search', { buffered: true }, async (t) => {
  const { dns, endpoints, lines } = await discover(t, { hosts: { 'users.test': ['127.0.0.2'] } }, 'http://users.test:1')
  const before = endpoints()
  await dns.stop()
  await until('it is missed', () => lines.length > 0)
  t.equal(endpoints(), before)
})

t.test('a start does not wait long for what does not answer, and finds it later', { buffered: true }, async (t) => {
  const { log, lines } = readableLog()
  const dns = await startDnsmasq({})
  t.teardown(() => dns.close())
  const discovery = dnsDiscovery({ urls: new Map([['users', ['http://users.test:1']]]), servers: [dns.server], log })
  t.teardown(() => discovery.close())
  await dns.stop()
  const began = performance.now()
  await discovery.start()
  t.ok(performance.now() - began < 3_500, 'bounded')
  t.strictSame(discovery.endpointsOf('users'), [])
  await dns.restart({ hosts: { 'users.test': ['127.0.0.2'] } })
  await until('it is found', () => discovery.endpointsOf('users').length > 0)
  t.match(lines, [/^warn users: DNS does not find .*: it cannot be asked yet$/, /^info users: .* again$/])
})

t.test('after it is closed nobody asks any more, and nothing is logged', { buffered: true }, async (t) => {
  const { dns, discovery, lines } = await discover(t, { hosts: { 'users.test': ['127.0.0.2'] } }, 'http://users.test:1')
  await discovery.close()
  const other = dnsDiscovery({
    urls: new Map([['posts', ['http://posts.test:1']]]),
    servers: [dns.server],
    log: readableLog().log,
  })
  t.teardown(() => other.close())
  const asked = dns.questions.filter((question) => question.endsWith(' users.test')).length
  await other.start()
  await until(
    'more than the TTL has gone',
    () => dns.questions.filter((one) => one === 'query[A] posts.test').length > 2,
  )
  t.equal(dns.questions.filter((question) => question.endsWith(' users.test')).length, asked)
  t.strictSame(lines, [])
})
