import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { createAjv } from './platform/host/ajv.ts'
import { BootError } from './platform/host/boot-error.ts'
import type { DiscoveryChoice } from './platform/host/discovery/choose.ts'
import { isWildcard, ownAddress } from './platform/host/discovery/own-address.ts'
import type { OutsideChoice } from './platform/host/events/outside/systems-outside.ts'
import { readWebhooks, EXAMPLE as WEBHOOKS } from './platform/host/events/outside/webhook-rules.ts'
import { type Placement, place, variable } from './platform/host/placement.ts'
import { FAULTS, type FaultRule, readRules, unknownTargets } from './platform/host/rpc/faults/rules.ts'
import { grpcPort } from './platform/host/rpc/grpc/address.ts'
import { SAMPLERS, type TracingOptions, tracingOptions } from './platform/host/tracing/options.ts'
import { isExternal } from './platform/kit/external.ts'
import type { Manifest } from './platform/kit/module.ts'
import { secretFiles } from './secret-files.ts'

const ORIGINS = '^https?://[^\\s,/]+(,https?://[^\\s,/]+)*$'
/** `https` and `http` by the addresses of a name, `srv` by its SRV records, which have the port. */
const NAME = '(https?://[^\\s,/@]+|srv://[^\\s,/:@]+)'
const POSTGRES = '^postgres(ql)?://\\S+$'

/** The variables of the host. `writeOnly` marks secrets: their values are never printed. */
const Variables = Type.Object({
  NODE_ENV: Type.Enum(['development', 'test', 'production'], {
    default: 'development',
    description: '`production` asks for `SECRET` and drops the checks meant for development',
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
  REDIS_URL: Type.Optional(
    Type.String({
      pattern: '^rediss?://\\S+$',
      writeOnly: true,
      description: 'Redis for queues, sessions and limits (default: PostgreSQL and memory)',
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
      pattern: '^rediss?://\\S+(, *rediss?://\\S+)*$',
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
const URLS: Record<DiscoveryChoice['kind'], { pattern: string; meaning: string; example: string }> = {
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
const moduleVariables = (name: string, { pattern, meaning, example }: (typeof URLS)['static']) => ({
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
})

/** What the environment says, checked and typed. */
export interface Config {
  readonly production: boolean
  readonly placement: Placement
  readonly host: string
  readonly port: number
  readonly opsPort: number
  /** How processes call each other. */
  readonly rpc: 'http' | 'grpc'
  /** Where all of them serve gRPC; undefined: each one on a port that follows from its own `PORT`. */
  readonly rpcPort: number | undefined
  readonly edge: boolean
  /** Undefined: the embedded PostgreSQL. */
  readonly databaseUrl: string | undefined
  /** Databases of modules that have one of their own. */
  readonly moduleDatabaseUrls: ReadonlyMap<string, string>
  readonly redisUrl: string | undefined
  /** One Redis, or several nodes of a cluster; none: the cache is in memory. */
  readonly cacheRedisUrls: readonly string[]
  readonly discovery: DiscoveryChoice
  /** Where modules run, in the words of that kind of discovery. */
  readonly moduleUrls: ReadonlyMap<string, readonly string[]>
  /** Undefined: made and kept in the data folder. */
  readonly secret: string | undefined
  readonly trustProxy: readonly string[]
  readonly corsOrigins: readonly string[]
  readonly rateLimit: number
  readonly loginLimit: number
  readonly busyLimit: number
  /** In seconds. */
  readonly eventsRetention: number
  /** The systems outside that events are handed to. */
  readonly eventsOutside: OutsideChoice
  /** What goes wrong with calls on purpose. */
  readonly faults: { readonly rules: readonly FaultRule[]; readonly seed: number } | undefined
  /** Undefined: nothing is traced. */
  readonly tracing: TracingOptions | undefined
  readonly logLevel: string
  /** The modules' own variables. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Where the embedded PostgreSQL and the development secret are kept. */
  readonly dataFolder: string
}

/** The schema of all variables: the host's, each module's, and the modules' own settings. */
export function variablesOf(catalogue: readonly Manifest[], discovery: DiscoveryChoice['kind'] = 'static'): TObject {
  const properties: Record<string, TSchema> = { ...Variables.properties }
  for (const { contract, settings } of catalogue)
    Object.assign(properties, moduleVariables(contract.name, URLS[discovery]), settings?.properties)
  return Type.Object(properties)
}

/**
 * Reads the environment.
 *
 * @throws {BootError} with all faults at once, each with the variable, what is wrong, and an example
 * @example const config = readConfig(process.env, catalogue)
 */
export function readConfig(environment: NodeJS.ProcessEnv, catalogue: readonly Manifest[]): Config {
  const kind = environment.DISCOVERY?.trim()
  const schema = variablesOf(catalogue, isKind(kind) ? kind : 'static')
  const secrets = Object.entries(schema.properties).filter(
    ([, { writeOnly }]: [string, { writeOnly?: boolean }]) => writeOnly,
  )
  const files = secretFiles(
    environment,
    secrets.map(([name]) => name),
  )
  const values: Record<string, unknown> = { ...files.values }
  for (const name of Object.keys(schema.properties)) {
    const value = environment[name]?.trim()
    if (value) values[name] = value
  }
  const faults = [...doubles(catalogue), ...files.faults, ...faultsOf(schema, values)]
  const vars = values as Static<typeof Variables>
  const opsPort = vars.OPS_PORT ?? (vars.PORT === 0 ? 0 : vars.PORT + 1000)
  const named = faults.some((fault) => /^(OPS_)?PORT /.test(fault))
  if (!named && opsPort > 65535)
    faults.push(`OPS_PORT is missing: PORT + 1000 is ${opsPort}, which is no port. Example: OPS_PORT=9000`)
  if (!named && opsPort === vars.PORT && opsPort !== 0)
    faults.push('OPS_PORT must differ from PORT. Example: OPS_PORT=9000')
  if (vars.RPC === 'grpc' && !faults.some((fault) => /^((OPS|RPC)_)?PORT /.test(fault)))
    faults.push(...faultsOfRpcPort(grpcPort(vars.PORT, vars.RPC_PORT), { port: vars.PORT, opsPort }))
  if (vars.NODE_ENV === 'production' && !vars.SECRET)
    faults.push(
      `SECRET is missing: NODE_ENV=production needs one, the same in every process. Example: ${example('SECRET', schema)}`,
    )

  const moduleUrls = new Map<string, readonly string[]>()
  const moduleDatabaseUrls = new Map<string, string>()
  for (const { contract } of catalogue) {
    const url = values[`${variable(contract.name)}_URL`]
    const database = values[`${variable(contract.name)}_DATABASE_URL`]
    if (typeof url === 'string') moduleUrls.set(contract.name, list(url))
    if (typeof database === 'string') moduleDatabaseUrls.set(contract.name, database)
  }
  const { webhooks, fault } = readWebhooks(vars.EVENTS_WEBHOOKS ?? '[]')
  if (fault) faults.push(`EVENTS_WEBHOOKS is not valid: ${fault}. Example: ${example('EVENTS_WEBHOOKS', schema)}`)
  const wanted = vars.MODULES === 'all' || vars.MODULES === 'none' ? vars.MODULES : list(vars.MODULES)
  const placed = place(
    catalogue,
    faults.some((fault) => fault.startsWith('MODULES ')) ? 'none' : wanted,
    (name) => vars.DISCOVERY === 'consul' || moduleUrls.has(name),
  )
  faults.push(...placed.faults)
  const reader = vars.EVENTS_AMQP_URL === undefined && readerOfQueues(placed.placement.hosted)
  if (reader)
    faults.push(
      `EVENTS_AMQP_URL is missing: "${reader}" is hosted here and reads a queue of RabbitMQ. Example: ${example('EVENTS_AMQP_URL', schema)}`,
    )
  const address = ownAddress(vars.HOST, vars.ADVERTISE_HOST)
  if (vars.DISCOVERY === 'consul' && address === undefined)
    faults.push(
      `ADVERTISE_HOST is missing: HOST is ${vars.HOST}, and this machine has no address of its own to register. Example: ${example('ADVERTISE_HOST', schema)}`,
    )
  const rules = vars.FAULTS && !faults.some((fault) => fault.startsWith('FAULTS ')) ? readRules(vars.FAULTS) : []
  if (rules.length > 0) faults.push(...faultsOfRules(rules, { vars, catalogue, schema }))
  if (faults.length > 0) throw new BootError(faults)
  const discovery: DiscoveryChoice =
    vars.DISCOVERY === 'consul'
      ? { kind: 'consul', url: vars.CONSUL_URL, token: vars.CONSUL_HTTP_TOKEN, address: address! }
      : { kind: vars.DISCOVERY }

  return Object.freeze({
    production: vars.NODE_ENV === 'production',
    placement: placed.placement,
    host: vars.HOST,
    port: vars.PORT,
    opsPort,
    rpc: vars.RPC,
    rpcPort: vars.RPC_PORT,
    edge: vars.EDGE,
    databaseUrl: vars.DATABASE_URL,
    moduleDatabaseUrls,
    redisUrl: vars.REDIS_URL,
    cacheRedisUrls: addressesIn(vars.CACHE_REDIS_URL ?? vars.REDIS_URL ?? ''),
    discovery,
    moduleUrls,
    secret: vars.SECRET,
    trustProxy: list(vars.TRUST_PROXY),
    corsOrigins: list(vars.CORS_ORIGINS),
    rateLimit: vars.RATE_LIMIT,
    loginLimit: vars.LOGIN_LIMIT,
    busyLimit: vars.BUSY_LIMIT,
    eventsRetention: secondsOf(vars.EVENTS_RETENTION),
    eventsOutside: { amqpUrl: vars.EVENTS_AMQP_URL, webhooks },
    faults: rules.length > 0 ? { rules, seed: vars.FAULTS_SEED ?? randomInt(2 ** 31) } : undefined,
    tracing: tracingOptions(vars, placed.placement),
    logLevel: vars.LOG_LEVEL,
    settings: Object.freeze(values),
    dataFolder: '.data',
  })
}

function faultsOfRpcPort(rpcPort: number, others: { port: number; opsPort: number }): string[] {
  const free = `RPC_PORT=${[10_000, 10_001, 10_002].find((port) => !Object.values(others).includes(port))}`
  if (rpcPort > 65535) return [`RPC_PORT is missing: PORT + 2000 is ${rpcPort}, which is no port. Example: ${free}`]
  const [name] = rpcPort === others.port ? ['PORT'] : rpcPort === others.opsPort ? ['OPS_PORT'] : []
  return name ? [`RPC_PORT must differ from ${name}: both are ${rpcPort}. Example: ${free}`] : []
}

function faultsOfRules(
  rules: readonly FaultRule[],
  of: { vars: Static<typeof Variables>; catalogue: readonly Manifest[]; schema: TObject },
): string[] {
  const is = `FAULTS is "${of.vars.FAULTS}"`
  if (of.vars.NODE_ENV === 'production')
    return [`${is}: NODE_ENV=production takes none, since they are for tests and staging. Example: FAULTS=`]
  const contracts = of.catalogue.map(({ contract }) => contract)
  const [unknown] = unknownTargets(rules, contracts)
  const names = contracts.map(({ name }) => name).join(', ')
  return unknown === undefined
    ? []
    : [
        `${is}: there is no "${unknown}". It must be *, one of ${names}, or a procedure of one. Example: ${example('FAULTS', of.schema)}`,
      ]
}

/** A module that subscribes to events of systems that are not Seam. */
const readerOfQueues = (manifests: readonly Manifest[]): string | undefined =>
  manifests.find(({ subscribes }) => subscribes.some((event) => event && isExternal(event)))?.contract.name

/** Variables that two would read. */
function doubles(catalogue: readonly Manifest[]): string[] {
  const owners = new Map(Object.keys(Variables.properties).map((name) => [name, "the host's"]))
  const faults: string[] = []
  for (const { contract, settings } of catalogue) {
    for (const name of [
      ...Object.keys(moduleVariables(contract.name, URLS.static)),
      ...Object.keys(settings?.properties ?? {}),
    ]) {
      const owner = owners.get(name)
      if (owner) faults.push(`"${contract.name}" cannot have the variable ${name}: it is ${owner}.`)
      owners.set(name, `"${contract.name}"'s`)
    }
  }
  return faults
}

/** Converts and completes the values in place, and says what is wrong with them. */
function faultsOf(schema: TObject, values: Record<string, unknown>): string[] {
  const given = { ...values }
  const ajv = createAjv({ coerceTypes: true, useDefaults: true })
  ajv.addFormat('cidrs', (text) => list(text).every(isCidr))
  ajv.addFormat('reachable', isReachable)
  const validate = ajv.compile(schema)
  validate(values)
  const faults = new Map<string, string>()
  for (const { instancePath, keyword, message, params } of validate.errors ?? []) {
    const name = instancePath.slice(1) || String(params.missingProperty)
    if (faults.has(name)) continue
    const secret = schema.properties[name] && (schema.properties[name] as { writeOnly?: boolean }).writeOnly
    const was = given[name] === undefined ? 'is missing' : secret ? 'is not valid' : `is "${given[name]}"`
    const rule =
      keyword === 'enum'
        ? `must be one of ${(params.allowedValues as string[]).join(', ')}`
        : keyword === 'pattern' || keyword === 'format'
          ? 'does not have the right form'
          : message
    faults.set(
      name,
      `${name} ${was}: it ${keyword === 'required' ? 'is needed' : rule}. Example: ${example(name, schema)}`,
    )
  }
  for (const [name, value] of Object.entries(given)) {
    if (name.endsWith('_URL') && !faults.has(name) && !addressesIn(String(value)).every((url) => URL.canParse(url)))
      faults.set(name, `${name} is not valid: it cannot be read as a URL. Example: ${example(name, schema)}`)
  }
  return [...faults.values()]
}

/** The parts of a comma-separated list of URLs; a comma may also stand in a password. */
const addressesIn = (value: string): string[] => (value ? value.split(/, *(?=\w+:\/\/)/) : [])

function isCidr(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
  return family !== 0 && fits && more.length === 0
}

const isKind = (text: string | undefined): text is DiscoveryChoice['kind'] =>
  text !== undefined && Object.hasOwn(URLS, text)

/** A name or an address, without a port, that is not everywhere. */
const isReachable = (text: string): boolean =>
  (isIP(text) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(text)) && !isWildcard(text)

function example(name: string, schema: TObject): string {
  const {
    examples,
    enum: values,
    default: standard,
  } = schema.properties[name] as { examples?: unknown[]; enum?: unknown[]; default?: unknown }
  return `${name}=${examples?.[0] ?? standard ?? values?.[0] ?? '…'}`
}

const list = (value: string | undefined): string[] => (value ? value.split(',').map((part) => part.trim()) : [])

const UNITS = { m: 60, h: 3600, d: 24 * 3600 }

/** A time as variables say it (`12h`), in seconds. */
const secondsOf = (text: string): number => Number(text.slice(0, -1)) * UNITS[text.slice(-1) as keyof typeof UNITS]
