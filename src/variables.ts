import { type TObject, type TSchema, Type } from 'typebox'
import type { DiscoveryChoice } from './platform/host/discovery/choose.ts'
import { EXAMPLE as WEBHOOKS } from './platform/host/events/outside/webhook-rules.ts'
import { variable } from './platform/host/placement.ts'
import { FAULTS } from './platform/host/rpc/faults/rules.ts'
import { SAMPLERS } from './platform/host/tracing/options.ts'
import type { Manifest } from './platform/kit/module.ts'

const ORIGINS = '^https?://[^\\s,/]+(,https?://[^\\s,/]+)*$'
/** `https` and `http` by the addresses of a name, `srv` by its SRV records, which have the port. */
const NAME = '(https?://[^\\s,/@]+|srv://[^\\s,/:@]+)'
const POSTGRES = '^postgres(ql)?://\\S+$'
const REDIS = '^rediss?://\\S+(, *rediss?://\\S+)*$'

/** The variables of the host. `writeOnly` marks secrets: their values are never printed. */
export const Variables = Type.Object({
  NODE_ENV: Type.Enum(['development', 'test', 'production'], {
    default: 'development',
    description: '`production` asks for `SECRET` and drops the checks meant for development',
  }),
  WORKERS: Type.String({
    default: '1',
    pattern: '^(auto|[1-9]\\d{0,2})$',
    description: 'Processes on this machine that share the port of the API: a number, or `auto`, one for each core',
    examples: ['auto'],
  }),
  MODULES: Type.String({
    default: 'all',
    pattern: '^[a-z0-9-]+( *, *[a-z0-9-]+)*$',
    description: '`all`, `none` (a pure gateway), or a comma-separated list',
    examples: ['users,posts'],
  }),
  HOST: Type.String({
    default: '127.0.0.1',
    minLength: 1,
    description: 'Where the API listens',
    examples: ['0.0.0.0'],
  }),
  PORT: Type.Integer({
    default: 8000,
    minimum: 0,
    maximum: 65535,
    description: 'Where the API listens',
    examples: [8000],
  }),
  OPS_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65535,
      description: 'Metrics and probes, on a listener of its own (default: `PORT` + 1000)',
      examples: [9000],
    }),
  ),
  RPC: Type.Enum(['http', 'grpc'], {
    default: 'http',
    description: 'How processes call each other; the same in all of them',
  }),
  RPC_PORT: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65535,
      description:
        'Where processes serve gRPC to each other, the same in all of them (default: the `PORT` of each + 2000)',
      examples: [10000],
    }),
  ),
  EDGE: Type.Boolean({
    default: true,
    description: '`false`: an internal service, which answers only processes of its own system',
    examples: [false],
  }),
  DATABASE_URL: Type.Optional(
    Type.String({
      pattern: POSTGRES,
      writeOnly: true,
      description: 'PostgreSQL (default: an embedded one in `./.data`)',
      examples: ['postgres://user:password@127.0.0.1:5432/seam'],
    }),
  ),
  DATABASE_REPLICA_URL: Type.Optional(
    Type.String({
      pattern: POSTGRES,
      writeOnly: true,
      description:
        'A replica of the PostgreSQL in `DATABASE_URL`, to read from; the same in every process (default: none)',
      examples: ['postgres://user:password@127.0.0.1:5433/seam'],
    }),
  ),
  REDIS_URL: Type.Optional(
    Type.String({
      pattern: REDIS,
      writeOnly: true,
      description:
        'Redis for queues, sessions and limits; several nodes are a cluster (default: PostgreSQL and memory)',
      examples: ['redis://127.0.0.1:6379'],
    }),
  ),
  EVENTS_RETENTION: Type.String({
    default: '7d',
    pattern: '^[1-9]\\d{0,4}[mhd]$',
    description: 'How long events are kept after all subscribers have confirmed them: minutes, hours or days',
    examples: ['12h', '30d'],
  }),
  EVENTS_AMQP_URL: Type.Optional(
    Type.String({
      pattern: '^amqps?://\\S+$',
      writeOnly: true,
      description: 'RabbitMQ that events are also handed to, and whose queues modules may read (default: none)',
      examples: ['amqp://user:password@127.0.0.1:5672'],
    }),
  ),
  EVENTS_WEBHOOKS: Type.Optional(
    Type.String({
      writeOnly: true,
      description:
        'URLs that events are also posted to, signed: a list in JSON of `name`, `url`, `secret` and, if not all, `events` (default: none)',
      examples: [WEBHOOKS],
    }),
  ),
  CACHE_REDIS_URL: Type.Optional(
    Type.String({
      pattern: REDIS,
      writeOnly: true,
      description:
        'Redis for the cache, which may evict; several nodes are a cluster (default: `REDIS_URL`, else memory)',
      examples: ['redis://127.0.0.1:6380'],
    }),
  ),
  DISCOVERY: Type.Enum(['static', 'dns', 'consul'], {
    default: 'static',
    description: 'How modules that run elsewhere are found; says what `<MODULE>_URL` means',
  }),
  CONSUL_URL: Type.String({
    default: 'http://127.0.0.1:8500',
    pattern: '^https?://[^\\s,/@]+$',
    description: 'The Consul agent of this machine, with `DISCOVERY=consul`',
    examples: ['http://127.0.0.1:8500'],
  }),
  CONSUL_HTTP_TOKEN: Type.Optional(
    Type.String({
      pattern: '^[!-~]+$',
      writeOnly: true,
      description:
        'The ACL token for Consul: `service:write` for what is hosted, `service:read` and `node:read` for the rest',
      examples: ['b1gs33cr3t-0000-0000-0000-000000000000'],
    }),
  ),
  ADVERTISE_HOST: Type.Optional(
    Type.String({
      format: 'reachable',
      description:
        'Where other machines reach this process, for Consul (default: `HOST`, or the first address of this machine if that is `0.0.0.0`)',
      examples: ['10.0.0.2'],
    }),
  ),
  SECRET: Type.Optional(
    Type.String({
      minLength: 32,
      writeOnly: true,
      description:
        'Signs tokens and sessions; the same in every process (default in development: made and kept in `./.data`)',
      examples: ['$(openssl rand -hex 32)'],
    }),
  ),
  TRUST_PROXY: Type.Optional(
    Type.String({ format: 'cidrs', description: 'CIDRs of the proxies in front', examples: ['10.0.0.0/8,127.0.0.1'] }),
  ),
  CORS_ORIGINS: Type.Optional(
    Type.String({
      pattern: ORIGINS,
      description: 'Origins of other sites whose pages may use the API',
      examples: ['https://app.example.com'],
    }),
  ),
  RATE_LIMIT: Type.Integer({
    default: 1000,
    minimum: 1,
    description: 'Requests a minute for one user, or one address',
    examples: [1000],
  }),
  LOGIN_LIMIT: Type.Integer({
    default: 20,
    minimum: 1,
    description: 'Attempts a minute to sign in, register or reset a password: for one address, and for one account',
    examples: [20],
  }),
  BUSY_LIMIT: Type.Integer({
    default: 500,
    minimum: 1,
    description:
      'Requests and calls that one process answers at a time for one module; what is more is refused with 503',
    examples: [500],
  }),
  FAULTS: Type.Optional(
    Type.String({
      pattern: FAULTS,
      description:
        'For tests and staging: faults of calls, as `<module>.<procedure>`, `<module>` or `*`, then `:`, then `delay=<ms>`, `drop`, `drop-answer`, `error`, `duplicate` or `partial`, and `@` how likely it is (1)',
      examples: ['users.getUser:delay=200@0.1,posts:error@0.05,*:drop@0.01'],
    }),
  ),
  FAULTS_SEED: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 2 ** 31 - 1,
      description: 'Repeats the faults of another run, whose log says it (default: drawn at each start)',
      examples: [42],
    }),
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      pattern: '^https?://[^\\s/?#@]+(/[^\\s?#@]*)?$',
      description: 'Where traces are sent: a collector that takes OTLP over HTTP (default: nothing is traced)',
      examples: ['http://127.0.0.1:4318'],
    }),
  ),
  OTEL_SERVICE_NAME: Type.Optional(
    Type.String({
      pattern: '^[\\w .-]{1,64}$',
      description: 'What traces call this process (default: `seam`, or `seam-` and its modules, or `seam-gateway`)',
      examples: ['seam'],
    }),
  ),
  OTEL_TRACES_SAMPLER: Type.Enum([...SAMPLERS], {
    default: 'parentbased_traceidratio',
    description:
      'Which traces are recorded: all, none, or the share that `OTEL_TRACES_SAMPLER_ARG` says. Whoever begins a trace decides for all',
  }),
  OTEL_TRACES_SAMPLER_ARG: Type.Number({
    default: 0.1,
    minimum: 0,
    maximum: 1,
    description: 'The share of traces that `parentbased_traceidratio` records',
    examples: [0.1],
  }),
  LOG_LEVEL: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
    default: 'info',
    description: "How much to log: pino's levels",
  }),
})

/** What `<MODULE>_URL` means with each kind of discovery. */
export const URLS: Record<DiscoveryChoice['kind'], { pattern: string; meaning: string; example: string }> = {
  static: {
    pattern: ORIGINS,
    meaning: 'one or more base URLs',
    example: 'http://10.0.0.2:8000,http://10.0.0.3:8000',
  },
  dns: {
    pattern: `^${NAME}(,${NAME})*$`,
    meaning: 'names in DNS, by their addresses or by SRV records',
    example: 'http://users.internal:8000,srv://_http._tcp.users.internal',
  },
  consul: {
    pattern: '^consul://[A-Za-z0-9][A-Za-z0-9-]*$',
    meaning: "the name of its service in Consul, also for the process that registers it (default: the module's name)",
    example: 'consul://users',
  },
}

/** The variables that every module has. */
export const moduleVariables = (name: string, { pattern, meaning, example }: (typeof URLS)['static']) => ({
  [`${variable(name)}_URL`]: Type.Optional(
    Type.String({ pattern, description: `Where \`${name}\` runs, if not here: ${meaning}`, examples: [example] }),
  ),
  [`${variable(name)}_DATABASE_URL`]: Type.Optional(
    Type.String({
      pattern: POSTGRES,
      writeOnly: true,
      description: `PostgreSQL for \`${name}\` alone (default: \`DATABASE_URL\`)`,
      examples: ['postgres://user:password@127.0.0.1:5432/other'],
    }),
  ),
  [`${variable(name)}_DATABASE_POOLER_URL`]: Type.Optional(
    Type.String({
      pattern: POSTGRES,
      writeOnly: true,
      description: `A PgBouncer in transaction mode in front of the database of \`${name}\` (default: none)`,
      examples: ['postgres://user:password@127.0.0.1:6432/module'],
    }),
  ),
  [`${variable(name)}_DATABASE_REPLICA_URL`]: Type.Optional(
    Type.String({
      pattern: POSTGRES,
      writeOnly: true,
      description: `A replica of the database of \`${name}\`, to read from (default: \`DATABASE_REPLICA_URL\`, unless it has a database of its own)`,
      examples: ['postgres://user:password@127.0.0.1:5433/other'],
    }),
  ),
})

/** The schema of all variables: the host's, each module's, and the modules' own settings. */
export function variablesOf(catalogue: readonly Manifest[], discovery: DiscoveryChoice['kind'] = 'static'): TObject {
  const properties: Record<string, TSchema> = { ...Variables.properties }
  for (const { contract, settings } of catalogue)
    Object.assign(properties, moduleVariables(contract.name, URLS[discovery]), settings?.properties)
  return Type.Object(properties)
}
