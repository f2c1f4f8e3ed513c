import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import type { Static, TObject } from 'typebox'
import { createAjv } from './platform/host/ajv.ts'
import { BootError } from './platform/host/boot-error.ts'
import type { DiscoveryChoice } from './platform/host/discovery/choose.ts'
import { isWildcard, ownAddress } from './platform/host/discovery/own-address.ts'
import type { OutsideChoice } from './platform/host/events/outside/systems-outside.ts'
import { readWebhooks } from './platform/host/events/outside/webhook-rules.ts'
import { type Placement, place, variable } from './platform/host/placement.ts'
import { type FaultRule, readRules, unknownTargets } from './platform/host/rpc/faults/rules.ts'
import { grpcPort } from './platform/host/rpc/grpc/address.ts'
import { type TracingOptions, tracingOptions } from './platform/host/tracing/options.ts'
import { isExternal } from './platform/kit/external.ts'
import type { Manifest } from './platform/kit/module.ts'
import { secretFiles } from './secret-files.ts'
import { moduleVariables, URLS, Variables, variablesOf } from './variables.ts'

/** What the environment says, checked and typed. */
export interface Config {
  readonly production: boolean
  /** Processes that share the port of the API. */
  readonly workers: number
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
  /** Read replicas, by the module whose database they follow; of all modules, wherever these run. */
  readonly replicaUrls: ReadonlyMap<string, string>
  /** The PgBouncers in front of modules' databases. */
  readonly poolerUrls: ReadonlyMap<string, string>
  readonly redisUrls: readonly string[]
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
  const replicaUrls = new Map<string, string>()
  const poolerUrls = new Map<string, string>()
  for (const { contract } of catalogue) {
    const url = values[`${variable(contract.name)}_URL`]
    const database = values[`${variable(contract.name)}_DATABASE_URL`]
    if (typeof url === 'string') moduleUrls.set(contract.name, list(url))
    const pooler = values[`${variable(contract.name)}_DATABASE_POOLER_URL`]
    if (typeof pooler === 'string') poolerUrls.set(contract.name, pooler)
    if (typeof database === 'string') moduleDatabaseUrls.set(contract.name, database)
    // What follows the database of all does not follow one of a module's own.
    const replica =
      values[`${variable(contract.name)}_DATABASE_REPLICA_URL`] ?? (database ? undefined : vars.DATABASE_REPLICA_URL)
    if (typeof replica === 'string') replicaUrls.set(contract.name, replica)
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
    workers: vars.WORKERS === 'auto' ? availableParallelism() : Number(vars.WORKERS),
    placement: placed.placement,
    host: vars.HOST,
    port: vars.PORT,
    opsPort,
    rpc: vars.RPC,
    rpcPort: vars.RPC_PORT,
    edge: vars.EDGE,
    databaseUrl: vars.DATABASE_URL,
    moduleDatabaseUrls,
    replicaUrls,
    poolerUrls,
    redisUrls: addressesIn(vars.REDIS_URL ?? ''),
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
