import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type TSchema, Type } from 'typebox'
import { readConfig } from '../src/config.ts'
import { catalogue } from '../src/modules/catalogue.ts'
import { BootError } from '../src/platform/host/boot-error.ts'
import { variable } from '../src/platform/host/placement.ts'
import { defineContract } from '../src/platform/kit/contract.ts'
import { defineModule } from '../src/platform/kit/module.ts'
import { variablesOf } from '../src/variables.ts'

const SECRET = 'hunter2-hunter2-hunter2-hunter2-hunter2'
const variables = variablesOf(catalogue).properties as Record<string, TSchema & Record<string, unknown>>

/** Text that can stand in a test's output. */
const ascii = (value: string) => JSON.stringify(value).replace(/[^ -~]/g, '?')

function faultsOf(env: Record<string, string>, modules = catalogue): readonly string[] {
  try {
    readConfig(env, modules)
    return []
  } catch (error) {
    if (error instanceof BootError) return error.faults
    throw error
  }
}

t.test('an empty environment is the whole application on this machine', async (t) => {
  const { placement, ...config } = readConfig({}, catalogue)
  t.strictSame(config, {
    production: false,
    workers: 1,
    host: '127.0.0.1',
    port: 8000,
    opsPort: 9000,
    rpc: 'http',
    rpcPort: undefined,
    edge: true,
    databaseUrl: undefined,
    moduleDatabaseUrls: new Map(),
    replicaUrls: new Map(),
    poolerUrls: new Map(),
    redisUrls: [],
    cacheRedisUrls: [],
    discovery: { kind: 'static' },
    moduleUrls: new Map(),
    secret: undefined,
    trustProxy: [],
    corsOrigins: [],
    rateLimit: 1000,
    loginLimit: 20,
    busyLimit: 500,
    eventsRetention: 7 * 24 * 3600,
    eventsOutside: { amqpUrl: undefined, webhooks: [] },
    faults: undefined,
    tracing: undefined,
    logLevel: 'info',
    settings: config.settings,
    dataFolder: '.data',
  })
  t.equal(config.settings.MAIL_FROM, 'Seam <seam@localhost>')
  t.strictSame(placement.hosted, catalogue)
})

t.test('every variable is read', async (t) => {
  const config = readConfig(
    {
      NODE_ENV: 'production',
      WORKERS: '12',
      MODULES: 'users, posts',
      HOST: '0.0.0.0',
      PORT: '8100',
      OPS_PORT: '8101',
      RPC: 'grpc',
      RPC_PORT: '8102',
      EDGE: 'false',
      DATABASE_URL: 'postgres://seam:p,a%20ss@db:5432/seam?sslmode=require',
      REDIS_URL: 'rediss://:pass@cache:6379/1',
      CACHE_REDIS_URL: 'rediss://:p,ass@one:6379,rediss://two:6379, rediss://three:6380',
      SECRET,
      TRUST_PROXY: '10.0.0.0/8, 127.0.0.1,fd00::/8,::1',
      CORS_ORIGINS: 'https://a.example.com,http://localhost:3000',
      RATE_LIMIT: '5',
      LOGIN_LIMIT: '6',
      BUSY_LIMIT: '7',
      EVENTS_RETENTION: '12h',
      EVENTS_AMQP_URL: 'amqps://seam:p%2Fass@rabbit/events',
      EVENTS_WEBHOOKS:
        '[{"name":"crm","url":"https://crm.example.com/in","secret":"whsec_bWFrZSBvbmUgb2YgeW91ciBvd24sIG9r"}]',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://traces.example.com/seam/',
      OTEL_SERVICE_NAME: 'seam-eu',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.1',
      LOG_LEVEL: 'debug',
      USERS_URL: 'http://10.0.0.2:8000',
      NOTIFICATIONS_URL: 'http://10.0.0.3:8000,http://10.0.0.4:8000',
      POSTS_DATABASE_URL: 'postgresql://posts@db2/posts',
      DATABASE_REPLICA_URL: 'postgres://replica/seam',
      POSTS_DATABASE_POOLER_URL: 'postgres://pooler/posts',
      NOTIFICATIONS_DATABASE_REPLICA_URL: 'postgres://replica3/seam',
      SMTP_URL: 'smtps://user:pass@mail:465',
      MAIL_FROM: 'hello@example.com',
    },
    catalogue,
  )
  const { placement, settings, ...rest } = config
  t.strictSame(rest, {
    production: true,
    workers: 12,
    host: '0.0.0.0',
    port: 8100,
    opsPort: 8101,
    rpc: 'grpc',
    rpcPort: 8102,
    edge: false,
    databaseUrl: 'postgres://seam:p,a%20ss@db:5432/seam?sslmode=require',
    moduleDatabaseUrls: new Map([['posts', 'postgresql://posts@db2/posts']]),
    // Not of posts: that one has a database of its own.
    replicaUrls: new Map([
      ['users', 'postgres://replica/seam'],
      ['notifications', 'postgres://replica3/seam'],
    ]),
    poolerUrls: new Map([['posts', 'postgres://pooler/posts']]),
    redisUrls: ['rediss://:pass@cache:6379/1'],
    cacheRedisUrls: ['rediss://:p,ass@one:6379', 'rediss://two:6379', 'rediss://three:6380'],
    discovery: { kind: 'static' },
    moduleUrls: new Map([
      ['users', ['http://10.0.0.2:8000']],
      ['notifications', ['http://10.0.0.3:8000', 'http://10.0.0.4:8000']],
    ]),
    secret: SECRET,
    trustProxy: ['10.0.0.0/8', '127.0.0.1', 'fd00::/8', '::1'],
    corsOrigins: ['https://a.example.com', 'http://localhost:3000'],
    rateLimit: 5,
    loginLimit: 6,
    busyLimit: 7,
    eventsRetention: 12 * 3600,
    eventsOutside: {
      amqpUrl: 'amqps://seam:p%2Fass@rabbit/events',
      webhooks: [
        {
          name: 'crm',
          url: 'https://crm.example.com/in',
          secret: 'whsec_bWFrZSBvbmUgb2YgeW91ciBvd24sIG9r',
          events: ['*'],
        },
      ],
    },
    faults: undefined,
    tracing: {
      url: 'https://traces.example.com/seam/v1/traces',
      serviceName: 'seam-eu',
      sampler: 'parentbased_traceidratio',
      ratio: 0.1,
    },
    logLevel: 'debug',
    dataFolder: '.data',
  })
  t.strictSame(placement.hosted.map(({ contract }) => contract.name).sort(), ['posts', 'users'])
  t.match(settings, { SMTP_URL: 'smtps://user:pass@mail:465', MAIL_FROM: 'hello@example.com' })
})

t.test('the configuration cannot be changed', async (t) => {
  const config = readConfig({}, catalogue)
  t.ok(Object.isFrozen(config))
  t.ok(Object.isFrozen(config.settings))
})

t.test('an empty variable, or one of blanks, is one that is not set', async (t) => {
  const empty = Object.fromEntries(Object.keys(variables).map((name, n) => [name, n % 2 ? '' : ' \t ']))
  const [from, of] = [readConfig(empty, catalogue), readConfig({}, catalogue)]
  t.strictSame({ ...from, placement: 0 }, { ...of, placement: 0 })
  t.match(faultsOf({ NODE_ENV: 'production', SECRET: '   ' }), [/^SECRET is missing/])
})

t.test('blanks around a value do not count', async (t) => {
  t.equal(readConfig({ PORT: ' 8001 ', MODULES: ' users ' }, catalogue).port, 8001)
})

t.test('variables of others are left alone', async (t) => {
  t.strictSame(faultsOf({ PATH: '/bin', port: 'x', DATABASE: 'x', USER_URL: 'x', EDGES: '1' }), [])
})

t.test('OPS_PORT is 1000 above PORT unless it is set, and may not be the same', async (t) => {
  const ports = (env: Record<string, string>) => {
    const { port, opsPort } = readConfig(env, catalogue)
    return [port, opsPort]
  }
  t.strictSame(ports({}), [8000, 9000])
  t.strictSame(ports({ PORT: '64535' }), [64535, 65535])
  t.strictSame(ports({ PORT: '0' }), [0, 0])
  t.strictSame(ports({ PORT: '65000', OPS_PORT: '1' }), [65000, 1])
  t.match(faultsOf({ PORT: '64536' }), [/^OPS_PORT is missing: PORT \+ 1000 is 65536.*Example: OPS_PORT=9000$/])
  t.match(faultsOf({ PORT: '9000', OPS_PORT: '9000' }), [/^OPS_PORT must differ from PORT\. Example: OPS_PORT=/])
})

t.test(
  'with RPC=grpc, the port for it is 2000 above PORT or RPC_PORT, and is no other port of the process',
  async (t) => {
    const RPC = 'grpc'
    for (const env of [{}, { PORT: '0' }, { PORT: '63535' }, { PORT: '65000', OPS_PORT: '1', RPC_PORT: '2' }])
      t.strictSame(faultsOf({ RPC, ...env }), [])
    t.strictSame(faultsOf({ PORT: '63536' }), [], 'with http it is of no interest')
    t.match(faultsOf({ RPC, PORT: '63536' }), [/^RPC_PORT is missing: PORT \+ 2000 is 65536.*Example: RPC_PORT=\d+$/])
    t.match(faultsOf({ RPC, RPC_PORT: '8000' }), [
      /^RPC_PORT must differ from PORT: both are 8000\. Example: RPC_PORT=/,
    ])
    t.match(faultsOf({ RPC, OPS_PORT: '10000' }), [/^RPC_PORT must differ from OPS_PORT: .*Example: RPC_PORT=10001$/])
  },
)

t.test('a secret may be in a file, which its variable with _FILE names', async (t) => {
  const folder = t.testdir({
    secret: `${SECRET}\n`,
    short: 'hunter2',
    empty: ' \n',
    database: 'postgres://a:b@c/users',
  })
  const config = readConfig(
    { SECRET_FILE: `${folder}/secret`, USERS_DATABASE_URL_FILE: `${folder}/database`, NODE_ENV: 'production' },
    catalogue,
  )
  t.equal(config.secret, SECRET)
  t.equal(config.moduleDatabaseUrls.get('users'), 'postgres://a:b@c/users')
  t.match(faultsOf({ SECRET_FILE: `${folder}/none` }), [
    /^SECRET_FILE is ".*none": it cannot be read \(ENOENT\)\. Example: SECRET_FILE=\/run\/secrets\/secret$/,
  ])
  const [empty, ...more] = faultsOf({ REDIS_URL_FILE: `${folder}/empty` })
  t.match(empty, /^REDIS_URL_FILE is ".*empty": there is nothing in that file/)
  t.strictSame(more, [])
  t.match(faultsOf({ SECRET_FILE: `${folder}/secret`, SECRET }), [/^SECRET_FILE is set, and so is SECRET/])
  const [short] = faultsOf({ SECRET_FILE: `${folder}/short` })
  t.match(short, /^SECRET is not valid: /)
  t.notMatch(short, 'hunter2')
  t.strictSame(faultsOf({ PORT_FILE: '/none' }), [], 'what is no secret is not read from files')
})

t.test('production needs a secret, and development does not', async (t) => {
  t.match(faultsOf({ NODE_ENV: 'production' }), [/^SECRET is missing: .*Example: SECRET=/])
  t.strictSame(faultsOf({ NODE_ENV: 'production', SECRET }), [])
  for (const NODE_ENV of ['development', 'test', '']) t.strictSame(faultsOf({ NODE_ENV }), [])
})

t.test('FAULTS are rules and a seed, which is drawn where it is not set; production takes none', async (t) => {
  const FAULTS = 'users.getUser:delay=200@0.1, posts:error@0.05, *:drop-answer'
  t.strictSame(readConfig({ FAULTS, FAULTS_SEED: '42' }, catalogue).faults, {
    rules: [
      { target: 'users.getUser', kind: 'delay', delay: 200, probability: 0.1 },
      { target: 'posts', kind: 'error', delay: 0, probability: 0.05 },
      { target: '*', kind: 'drop-answer', delay: 0, probability: 1 },
    ],
    seed: 42,
  })
  const seeds = Array.from({ length: 5 }, () => readConfig({ FAULTS }, catalogue).faults!.seed)
  t.ok(new Set(seeds).size > 1)
  t.equal(readConfig({ FAULTS_SEED: '42' }, catalogue).faults, undefined)
  t.match(faultsOf({ NODE_ENV: 'production', SECRET, FAULTS }), [
    /^FAULTS is .*: NODE_ENV=production takes none.* Example: /,
  ])
  t.match(faultsOf({ FAULTS: 'users.getUsers:drop' }), [
    /there is no "users\.getUsers"\. It must be \*, one of users, posts/,
  ])
})

const POSTGRES = [
  'hunter2',
  'mysql://u:hunter2@h/d',
  'postgres://',
  'postgres://u:hunter2 x@h/d',
  'postgres://u:hunter2@h:99999/d',
]
const ORIGINS = [
  'somewhere',
  'ftp://h',
  'http://h/path',
  'http://h,',
  'http://h, http://i/x',
  'http://h:99999',
  'http://h,http://[x',
]

/** For each variable values that it may not have. HOST may be anything. */
const bad: Record<string, string[]> = {
  NODE_ENV: ['prod', 'Production', 'staging'],
  WORKERS: ['0', '-1', 'all', '1.5', '1000'],
  MODULES: ['users;posts', ',', 'users,', 'Users', 'a/b'],
  PORT: ['http', '-1', '65536', '80.5', '8000 8001', 'NaN', 'true'],
  OPS_PORT: ['http', '-1', '65536', '90.5'],
  RPC: ['gRPC', 'tcp', 'true'],
  RPC_PORT: ['grpc', '0', '-1', '65536', '90.5'],
  EDGE: ['yes', '1', '0', 'TRUE', 'on', 'null'],
  DATABASE_URL: POSTGRES,
  DATABASE_REPLICA_URL: POSTGRES,
  USERS_DATABASE_REPLICA_URL: POSTGRES,
  USERS_DATABASE_POOLER_URL: POSTGRES,
  POSTS_DATABASE_POOLER_URL: POSTGRES,
  NOTIFICATIONS_DATABASE_POOLER_URL: POSTGRES,
  POSTS_DATABASE_REPLICA_URL: POSTGRES,
  NOTIFICATIONS_DATABASE_REPLICA_URL: POSTGRES,
  USERS_DATABASE_URL: POSTGRES,
  POSTS_DATABASE_URL: POSTGRES,
  NOTIFICATIONS_DATABASE_URL: POSTGRES,
  CACHE_REDIS_URL: [
    'hunter2',
    'http://:hunter2@h',
    'redis://',
    'redis://:hunter2@h:99999',
    'redis://a,redis://:hunter2@h:x',
  ],
  EVENTS_AMQP_URL: ['hunter2', 'http://:hunter2@h', 'amqp://', 'amqp://:hunter2@h:99999'],
  EVENTS_WEBHOOKS: ['hunter2', '{}', '["hunter2"]', '[{"name":"crm","url":"http://u:hunter2@h","secret":"hunter2"}]'],
  REDIS_URL: ['hunter2', 'http://:hunter2@h', 'redis://', 'redis://:hunter2@h:99999'],
  DISCOVERY: ['kubernetes', 'DNS', 'none'],
  CONSUL_URL: ['127.0.0.1:8500', 'ftp://h', 'http://h/path', 'http://u:hunter2@h', 'http://h:99999'],
  CONSUL_HTTP_TOKEN: ['hunter2 x', 'hunter2\n'.padEnd(9, 'x')],
  ADVERTISE_HOST: ['http://10.0.0.2', '10.0.0.2:8000', '0.0.0.0', '::', '[::1]', '-'],
  SECRET: ['hunter2', `hunter2${'x'.repeat(24)}`],
  TRUST_PROXY: [
    'localhost',
    '10.0.0.0/33',
    '300.1.1.1',
    '10.0.0.0/8/8',
    '::1/129',
    '10.0.0.0/',
    'true',
    '10.0.0.1;10.0.0.2',
  ],
  CORS_ORIGINS: ['*', 'example.com', 'https://example.com/', 'null'],
  RATE_LIMIT: ['0', '-1', 'many', '1.5'],
  LOGIN_LIMIT: ['0', '-1', 'many', '1.5'],
  BUSY_LIMIT: ['0', '-1', 'many', '1.5'],
  EVENTS_RETENTION: ['7', '0d', 'd', '1.5h', '7 d', '7w', '-1d'],
  FAULTS: [
    'users',
    'users:explode',
    'users:delay',
    'users:drop=5',
    'users:drop@1.5',
    'users:drop@-1',
    'users:drop,',
    'Users:drop',
    'users:delay=1.5',
    'orders:drop',
    'users.nobody:drop',
    'posts:drop, users.getUsers:error@0.5',
  ],
  FAULTS_SEED: ['many', '-1', '1.5', '2147483648'],
  OTEL_EXPORTER_OTLP_ENDPOINT: ['localhost:4318', 'grpc://h:4317', 'http://u:p@h', 'http://h/?a=b'],
  OTEL_SERVICE_NAME: ['a\tb', 'x'.repeat(65)],
  OTEL_TRACES_SAMPLER: ['always_on', 'jaeger_remote'],
  OTEL_TRACES_SAMPLER_ARG: ['half', '-0.1', '1.1'],
  LOG_LEVEL: ['verbose', 'INFO', '30'],
  USERS_URL: ORIGINS,
  POSTS_URL: ORIGINS,
  NOTIFICATIONS_URL: ORIGINS,
  SMTP_URL: ['hunter2', 'http://u:hunter2@mail', 'smtp://', 'smtp://u:hunter2@mail:99999'],
  APP_URL: ['app.example.com', 'ftp://h', 'http://h?a=b', 'http://h:99999'],
  SMS_URL: ['hunter2', 'ftp://u:hunter2@h', 'http://', 'http://u:hunter2@h:99999'],
  VAPID_PUBLIC_KEY: ['short', `A${'x'.repeat(86)}`],
  VAPID_PRIVATE_KEY: ['hunter2', `hunter2${'x'.repeat(37)}`],
  VAPID_SUBJECT: ['admin@example.com', 'http://example.com'],
  PUSH_PRIVATE_ENDPOINTS: ['yes', '1'],
  PASSWORD_MEMORY: ['19 MiB', '63', '2097152', '1.5'],
  MAIL_FROM: ['nobody', '<>', 'a@b\nBcc: c@d', 'A <a@b> <c@d>'],
}

t.test('the tests below know every variable', async (t) => {
  t.strictSame([...Object.keys(bad), 'HOST'].sort(), Object.keys(variables).sort())
})

for (let nth = 0; nth < Math.max(...Object.values(bad).map(({ length }) => length)); nth++) {
  t.test(`bad values are named, each with its fault and an example; round ${nth + 1}`, async (t) => {
    const wrong = Object.entries(bad).flatMap(([name, values]) => (values[nth] ? [[name, values[nth]!] as const] : []))
    const faults = faultsOf(Object.fromEntries(wrong))
    t.equal(faults.length, wrong.length)
    for (const [name, value] of wrong) {
      const [fault = 'none', ...more] = faults.filter((fault) => fault.startsWith(`${name} `))
      t.equal(more.length, 0, `one fault for ${name}=${ascii(value)}`)
      const [words, example] = fault.split(` Example: ${name}=`)
      t.match(words, /^\w+ is .+\.$/s)
      t.ok(example, `${name} has an example`)
      if (variables[name]!.writeOnly) t.notMatch(fault, 'hunter2')
      else if (!name.endsWith('_URL')) t.ok(words?.includes(`"${value}"`), `${name} shows its value`)
    }
  })
}

t.test('what the examples say is good', async (t) => {
  const examples = Object.entries(variables).map(([name, { examples, default: standard }]) => [
    name,
    name === 'SECRET' ? 'x'.repeat(64) : String((examples as unknown[])?.[0] ?? standard),
  ])
  t.strictSame(faultsOf(Object.fromEntries(examples)), [])
})

t.test('all faults are in one message, each once', async (t) => {
  const env = Object.fromEntries(Object.entries(bad).map(([name, values]) => [name, values[0]!]))
  const faults = faultsOf(env)
  t.strictSame(faults.map((fault) => fault.split(' ')[0]).sort(), Object.keys(bad).sort())
  t.notMatch(faults.join('\n'), 'hunter2')
  try {
    readConfig(env, catalogue)
  } catch (error) {
    for (const fault of faults) t.match((error as Error).message, fault)
  }
})

t.test('faults of values, of the placement and of what is missing come together', async (t) => {
  const faults = faultsOf({ NODE_ENV: 'production', PORT: 'x', MODULES: 'posts,nobody' })
  t.equal(faults.length, 4)
  for (const words of [/^PORT is "x"/, /^SECRET is missing/, /^MODULES names "nobody"/, /^USERS_URL is missing/])
    t.ok(
      faults.some((fault) => words.test(fault)),
      String(words),
    )
})

t.test('what the variable of a module means, and how a bad one is corrected, depends on DISCOVERY', async (t) => {
  const good: [string, string, readonly string[]][] = [
    ['static', 'http://10.0.0.2:8000, http://[::1]:8000', []],
    ['static', 'http://10.0.0.2:8000,http://[::1]:8000', ['http://10.0.0.2:8000', 'http://[::1]:8000']],
    ['dns', 'http://users.internal:8000', ['http://users.internal:8000']],
    ['dns', 'srv://_http._tcp.users.internal,https://u', ['srv://_http._tcp.users.internal', 'https://u']],
    ['consul', 'consul://shop-users', ['consul://shop-users']],
  ]
  for (const [DISCOVERY, USERS_URL, urls] of good) {
    if (urls.length === 0) t.match(faultsOf({ DISCOVERY, USERS_URL }), [/^USERS_URL is /], USERS_URL)
    else t.strictSame([...readConfig({ DISCOVERY, USERS_URL }, catalogue).moduleUrls], [['users', urls]], USERS_URL)
  }
  const bad: [string, string, RegExp][] = [
    ['static', 'srv://_http._tcp.users.internal', /Example: USERS_URL=http:.*,http:/],
    ['static', 'consul://users', /Example: USERS_URL=http:.*,http:/],
    ['dns', 'users.internal', /Example: USERS_URL=.*srv:/],
    ['dns', 'srv://users.internal:8000', /Example: USERS_URL=.*srv:/],
    ['dns', 'srv://users.internal/path', /Example: USERS_URL=.*srv:/],
    ['dns', 'http://user@users.internal', /Example: USERS_URL=.*srv:/],
    ['dns', 'consul://users', /Example: USERS_URL=.*srv:/],
    ['consul', 'http://10.0.0.2:8000', /Example: USERS_URL=consul:/],
    ['consul', 'consul://users:80', /Example: USERS_URL=consul:/],
    ['consul', 'consul://a,consul://b', /Example: USERS_URL=consul:/],
  ]
  for (const [DISCOVERY, USERS_URL, words] of bad) {
    const [fault = 'none', ...more] = faultsOf({ DISCOVERY, USERS_URL })
    t.match(fault, /^USERS_URL is /, `${DISCOVERY} ${USERS_URL}`)
    t.match(fault, words)
    t.strictSame(more, [])
    const example = / Example: USERS_URL=(.*)$/.exec(fault)![1]!
    t.strictSame(faultsOf({ DISCOVERY, USERS_URL: example }), [], 'what it says is good')
  }
  t.equal(faultsOf({ DISCOVERY: 'Consul', USERS_URL: 'consul://users' }).length, 2)
})

t.test('only Consul finds a module whose variable is not set', async (t) => {
  for (const DISCOVERY of ['static', 'dns'])
    t.match(faultsOf({ MODULES: 'posts', DISCOVERY }), [/^USERS_URL is missing: .*Example: USERS_URL=/])
  t.strictSame(faultsOf({ MODULES: 'posts', DISCOVERY: 'consul' }), [])
})

t.test('with Consul, the address that others reach is ADVERTISE_HOST, or HOST, or one of this machine', async (t) => {
  const addressOf = (env: Record<string, string>) => {
    const { discovery } = readConfig({ DISCOVERY: 'consul', ...env }, catalogue)
    return discovery.kind === 'consul' ? discovery.address : undefined
  }
  t.equal(addressOf({ ADVERTISE_HOST: 'users-1.internal' }), 'users-1.internal')
  t.equal(addressOf({ HOST: '10.0.0.2', ADVERTISE_HOST: 'fd00::1' }), 'fd00::1')
  t.equal(addressOf({}), '127.0.0.1')
  t.equal(addressOf({ HOST: '10.0.0.2' }), '10.0.0.2')
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal }) => !internal)
    .map(({ address }) => address)
  for (const HOST of ['0.0.0.0', '::']) {
    if (outside.length === 0) t.match(faultsOf({ DISCOVERY: 'consul', HOST }), [/^ADVERTISE_HOST is missing/])
    else t.ok(outside.includes(addressOf({ HOST })!), HOST)
  }
  t.match(readConfig({ DISCOVERY: 'consul', CONSUL_HTTP_TOKEN: 'abc' }, catalogue).discovery, {
    url: 'http://127.0.0.1:8500',
    token: 'abc',
  })
})

const shop = defineContract('web-shop', {})
const settings = Type.Object({
  CURRENCY: Type.Enum(['CHF', 'EUR'], { default: 'CHF', description: 'x' }),
  SHOP_TIMEOUT: Type.Optional(Type.Integer({ minimum: 1, description: 'x', examples: [5] })),
  SHOP_KEY: Type.String({ minLength: 8, writeOnly: true, description: 'x', examples: ['12345678'] }),
})
const shops = [
  defineModule(shop, { settings, plugin: async () => ({ default: () => {} }) }),
] as unknown as typeof catalogue

t.test("a module's own variables are read, completed and checked like the others", async (t) => {
  const config = readConfig({ SHOP_KEY: '87654321', SHOP_TIMEOUT: '7', WEB_SHOP_URL: 'http://h' }, shops)
  t.match(config.settings, { CURRENCY: 'CHF', SHOP_TIMEOUT: 7, SHOP_KEY: '87654321' })
  t.strictSame([...config.moduleUrls], [['web-shop', ['http://h']]])
  t.match(faultsOf({ CURRENCY: 'USD', SHOP_TIMEOUT: '0', SHOP_KEY: 'hunter2' }, shops), [
    'CURRENCY is "USD": it must be one of CHF, EUR. Example: CURRENCY=CHF',
    /^SHOP_TIMEOUT is "0": .* Example: SHOP_TIMEOUT=5$/,
    /^SHOP_KEY is not valid: .* Example: SHOP_KEY=12345678$/,
  ])
  t.strictSame(faultsOf({}, shops), ['SHOP_KEY is missing: it is needed. Example: SHOP_KEY=12345678'])
})

t.test("a module cannot take a variable that is somebody else's", async (t) => {
  const plugin = async () => ({ default: () => {} })
  const setting = (name: string) => Type.Object({ [name]: Type.String({ default: 'x', description: 'x' }) })
  const with_ = (...modules: [string, string?][]) =>
    modules.map(([name, own]) =>
      defineModule(defineContract(name, {}), { plugin, ...(own && { settings: setting(own) }) }),
    ) as unknown as typeof catalogue
  t.match(faultsOf({}, with_(['shop', 'PORT'])), [/"shop" .*PORT/])
  t.match(faultsOf({}, with_(['shop', 'CURRENCY'], ['till', 'CURRENCY'])), [/"till" .*CURRENCY/])
  t.match(faultsOf({}, with_(['redis'])), [/"redis" .*REDIS_URL/])
  t.match(faultsOf({}, with_(['database'])), [/"database" .*DATABASE_URL/])
})

t.test('a process with bad variables says so in plain words, without secrets, and ends with 1', async (t) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../src/main.ts')], {
    env: { PORT: 'x', EDGE: 'maybe', DATABASE_URL: 'postgres://u:hunter2@h:99999/d', SECRET: 'hunter2' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  t.equal(code, 1)
  const lines = output.trim().split('\n')
  t.equal(lines[0], 'Seam cannot start:')
  t.strictSame(
    lines
      .slice(1)
      .map((line) => /^ {2}- (\w+) is /.exec(line)?.[1])
      .sort(),
    ['DATABASE_URL', 'EDGE', 'PORT', 'SECRET'],
  )
  t.notMatch(output, 'hunter2')
})

t.test('the README has every variable, with its default, and no other', async (t) => {
  const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
  const rows = new Map(
    [...readme.matchAll(/^\| `([A-Z<>_]+)` \|(.*)\|(.*)\|$/gm)].map(([, name, , standard]) => [
      name!,
      standard!.trim(),
    ]),
  )
  const shared = new RegExp(
    `^(${catalogue.map(({ contract }) => variable(contract.name)).join('|')})_(URL|DATABASE_URL|DATABASE_REPLICA_URL|DATABASE_POOLER_URL)$`,
  )
  const names = new Set(Object.keys(variables).map((name) => name.replace(shared, '<MODULE>_$2')))
  t.strictSame([...rows.keys()].sort(), [...names].sort())
  for (const [name, { default: standard }] of Object.entries(variables))
    if (standard !== undefined) t.match(rows.get(name), standard === true ? '`true`' : `\`${standard}\``, name)
})
