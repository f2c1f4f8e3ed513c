// `npm run verify:deploy`: brings both compose files up behind Nginx and behind HAProxy, on 127.0.0.1, and sees whether they hold:
// the story and the API, a replica that is killed, a rolling restart and a rolling change of topology, all under load.
//   -- --requests 50000   how many requests each rolling restart and change has to stand, at least
//   -- --only nginx-monolith,haproxy-split,nginx-change,extras
//   -- --no-build         takes the image that is there
//   -- --no-api           leaves out what is not under load
// Half an hour on two cores. Needs Docker with Compose v2 and openssl.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Compose, type ReverseProxy, type Topology } from './compose.ts'
import { type Outcome, underLoad } from './load.ts'
import { checkFromOutside } from './outside.ts'

const root = join(import.meta.dirname, '../..')
const ca = join(root, 'deploy/secrets/tls.crt')
const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '50000' },
    only: { type: 'string' },
    'no-build': { type: 'boolean', default: false },
    'no-api': { type: 'boolean', default: false },
  },
})
const least = Number(values.requests)
const only = values.only?.split(',')
let compose = await Compose.prepare()

// Node reads this once, when it starts.
if (process.env.NODE_EXTRA_CA_CERTS !== ca) {
  const { status } = spawnSync(process.execPath, process.argv.slice(1), {
    stdio: 'inherit',
    env: { ...process.env, NODE_EXTRA_CA_CERTS: ca },
  })
  process.exit(status ?? 1)
}

/** The processes that end users reach, and those behind them with the replicas of each. */
const EDGES = ['edge-1', 'edge-2', 'edge-3']
const MODULES = ['users-1', 'users-2', 'posts-1', 'posts-2', 'notifications-1']

const faults: string[] = []
let topology: Topology = 'monolith'
process.once('SIGINT', () => process.exit(130))
try {
  if (!values['no-build']) await step('the image is built', () => compose.build())
  await compose.down()
  for (const proxy of ['nginx', 'haproxy'] as const)
    for (const what of ['monolith', 'split', 'change'] as const)
      if (only?.includes(`${proxy}-${what}`) ?? true) await (what === 'change' ? change(proxy) : verify(proxy, what))
  if (only?.includes('extras') ?? true) await extras()
} catch (error) {
  faults.push((error as Error).message)
  console.error(await compose.logs(topology).catch(() => ''))
} finally {
  await compose.down()
}
for (const fault of faults) console.error(`  ✗ ${fault}`)
console.log(faults.length === 0 ? '\nAll of it holds.\n' : `\n${faults.length} things do not hold.\n`)
process.exitCode = faults.length === 0 ? 0 : 1

/** One topology behind one proxy. */
async function verify(proxy: ReverseProxy, shape: Topology): Promise<void> {
  topology = shape
  console.log(`\n${shape} behind ${proxy}\n`)
  await step('it starts', () => compose.up(shape, proxy))
  if (!values['no-api']) await ask(shape, proxy)
  if (!values['no-api']) await step('Prometheus sees all processes', () => watch(shape, proxy))
  const killed = await withLoad('a replica is killed', { least: 4_000 }, async () => {
    await compose.docker('kill', '-s', 'KILL', (await compose.containers(shape, 'edge-2'))[0]!)
    await pause(3_000)
    await compose.up(shape, proxy, 'edge-2')
  })
  // What it was answering is lost: what was read is read again elsewhere, what was written nobody may send twice.
  lostOnly(killed, /^POST: (502|504|503|UND_ERR_SOCKET)/, 24)
  const rolled = await withLoad('a rolling restart', { least }, () => restartAll(shape))
  lostOnly(rolled, /^$/, 0)
  await compose.down()
}

/** What there is to see of a system that nothing happens to. */
async function ask(shape: Topology, proxy: ReverseProxy): Promise<void> {
  await step('the story', () => play('scripts/demo.ts'))
  await step('the API', async () =>
    play(
      'scripts/verify-deploy/smoke.ts',
      (await compose.containers(shape, shape === 'split' ? 'users-1' : 'edge-1'))[0]!,
    ),
  )
  await step('from outside', async () => {
    for (const fault of await checkFromOutside({ url: compose.url })) faults.push(`${shape} behind ${proxy}: ${fault}`)
  })
}

/** The profile `observability`, without Grafana, which has nothing to say of itself. */
async function watch(shape: Topology, proxy: ReverseProxy): Promise<void> {
  await compose.up(shape, proxy, 'prometheus')
  const [prometheus] = await compose.containers(shape, 'prometheus')
  const wanted = shape === 'split' ? EDGES.length + MODULES.length : EDGES.length
  const query = ['exec', prometheus!, 'promtool', 'query', 'instant', 'http://127.0.0.1:9090', 'count(up == 1)']
  let seen = ''
  for (const end = performance.now() + 60_000; performance.now() < end; await pause(500)) {
    seen = await compose.docker(...query)
    if (seen.includes(`=> ${wanted} @`)) return
  }
  throw new Error(`Prometheus sees not ${wanted} processes but this: ${seen}`)
}

/** With what comes by profile: a Redis Cluster, RabbitMQ, and then a replica to read from; each has something to do. */
async function extras(): Promise<void> {
  topology = 'split'
  console.log('\nsplit, with Redis Cluster and RabbitMQ, then also with a read replica, behind nginx\n')
  const nodes = ['cluster-1', 'cluster-2', 'cluster-3']
  const cluster = nodes.map((node) => `redis://${node}:6379`).join()
  compose = compose.with({
    COMPOSE_PROFILES: 'redis-cluster,rabbitmq',
    REDIS_URL: cluster,
    CACHE_REDIS_URL: cluster,
    EVENTS_AMQP_URL: 'amqp://rabbitmq',
  })
  await step('it starts', () => compose.up('split', 'nginx'))
  await step('a queue is bound to all events', async () => {
    const rabbit = (program: string) => compose.exec('split', 'rabbitmq', 'rabbitmqctl', 'eval', program)
    const name = (kind: string, of: string) => `rabbit_misc:r(<<"/">>, ${kind}, <<"${of}">>)`
    await rabbit(`rabbit_amqqueue:declare(${name('queue', 'all')}, true, false, [], none, <<"verify">>).`)
    await rabbit(
      `rabbit_binding:add({binding, ${name('exchange', 'seam.events')}, <<"#">>, ${name('queue', 'all')}, []}, <<"verify">>).`,
    )
  })
  await ask('split', 'nginx')
  await step('RabbitMQ has the events', async () => {
    const waiting = await compose.exec('split', 'rabbitmq', 'rabbitmqctl', '-q', 'list_queues', 'name', 'messages')
    if (!/^all\t[1-9]/m.test(waiting)) throw new Error(`It has these queues: ${waiting}`)
  })
  await step('each node of the cluster keeps something, and the single Redis nothing', async () => {
    const keys = (node: string) => compose.exec('split', node, 'redis-cli', 'dbsize')
    for (const node of nodes) if ((await keys(node)) === '0') throw new Error(`${node} keeps nothing.`)
    if ((await keys('queue')) !== '0') throw new Error('The single Redis is used.')
  })
  await readFromReplica()
  await compose.down()
}

/** Adds a replica to what runs. Whoever writes reads it back at once; the others may see it a little later (ADR 24). */
async function readFromReplica(): Promise<void> {
  const replicas = ['users', 'posts', 'notifications'].map((module) => [
    `${module.toUpperCase()}_DATABASE_REPLICA_URL`,
    readFileSync(join(root, `deploy/secrets/${module}-database-url`), 'utf8')
      .trim()
      .replace('@postgres:', '@postgres-replica:'),
  ])
  compose = compose.with({ COMPOSE_PROFILES: 'redis-cluster,rabbitmq,replica', ...Object.fromEntries(replicas) })
  await step('it starts with a replica', () => compose.up('split', 'nginx'))
  await step('the story', () => play('scripts/demo.ts'))
  await step('who writes reads it back at once, everybody else within 5 s', async () => {
    const { token } = await introduce()
    for (let n = 0; n < 30; n++) {
      const { data } = await post('/api/posts', { title: `Read back ${n}`, content: 'At once.' }, token)
      const read = async (headers: Record<string, string>) =>
        (await fetch(`${compose.url}/api/posts/${data.id}`, { headers, signal: AbortSignal.timeout(15_000) })).status
      const own = await read({ authorization: `Bearer ${token}` })
      if (own !== 200) throw new Error(`Who has written a post is answered with ${own}.`)
      const end = performance.now() + 5_000
      while ((await read({})) !== 200) if (performance.now() > end) throw new Error('Others do not find a post.')
    }
  })
  await step('the replica is read from', async () => {
    const read = `select sum(seq_scan + coalesce(idx_scan, 0)) from pg_stat_user_tables where relname in ('users', 'posts', 'notifications')`
    for (const module of ['users', 'posts'])
      if (Number(await compose.sql(module, read, 'postgres-replica')) < 1)
        throw new Error(`Nobody reads ${module} there.`)
  })
}

/** From the whole to its pieces and back, edge by edge, behind the same proxy. */
async function change(proxy: ReverseProxy): Promise<void> {
  topology = 'monolith'
  console.log(`\nmonolith, split, monolith, behind ${proxy}\n`)
  await step('it starts', () => compose.up('monolith', proxy))
  const changed = await withLoad('monolith to split to monolith', { least }, async () => {
    await compose.up('split', proxy, ...MODULES)
    for (const edge of EDGES) await compose.up('split', proxy, edge)
    await pause(5_000)
    for (const edge of EDGES) await compose.up('monolith', proxy, edge)
    await compose.remove('split', ...MODULES)
  })
  lostOnly(changed, /^$/, 0)
  await compose.down()
}

async function restartAll(shape: Topology): Promise<void> {
  for (const service of shape === 'monolith' ? EDGES : [...EDGES, ...MODULES])
    for (const container of await compose.containers(shape, service)) await compose.restart(container)
}

/** Asks all the while, then compares what was answered with what is in the databases. */
async function withLoad(title: string, options: { least: number }, work: () => Promise<void>): Promise<Outcome> {
  const { userId, ...asked } = await introduce()
  const outcome = await underLoad(compose.url, { ...asked, ...options }, work)
  const { requests, seconds, slowest, written, unknown } = outcome
  const lost = [...outcome.lost.values()].reduce((sum, count) => sum + count, 0)
  console.log(
    `  · ${title}: ${requests} requests in ${Math.round(seconds)} s (${Math.round(requests / seconds)}/s), ${lost} lost, slowest ${Math.round(slowest)} ms`,
  )
  for (const [what, count] of outcome.lost) console.log(`      ${count} × ${what}`)
  if (lost > 0) console.log(await compose.logs(topology))
  if (requests < options.least) faults.push(`${title}: only ${requests} requests of ${options.least} were made`)
  const own = `author_id = '${userId}' and title <> 'the post that is read'`
  const posts = (await compose.sql('posts', `select title from posts.posts where ${own}`)).split('\n').filter(Boolean)
  const distinct = new Set(posts)
  if (distinct.size !== posts.length) faults.push(`${title}: ${posts.length - distinct.size} posts were written twice`)
  const missing = [...written].filter((post) => !distinct.has(post))
  if (missing.length > 0) faults.push(`${title}: ${missing.length} posts that were confirmed are not there`)
  const strange = posts.filter((post) => !written.has(post) && !unknown.has(post))
  if (strange.length > 0) faults.push(`${title}: ${strange.length} posts are there that nobody has written`)
  // Each post has an effect in another module, by an event.
  const wanted = String(posts.length + 1)
  let counted = ''
  for (const end = performance.now() + 90_000; counted !== wanted && performance.now() < end; await pause(200))
    counted = await compose.sql('users', `select post_count from users.users where id = '${userId}'`)
  if (counted !== wanted) faults.push(`${title}: of ${wanted} posts, ${counted} were counted in users`)
  console.log(
    `      ${posts.length} posts written, ${posts.length - distinct.size} of them twice; all counted in users by their events: ${counted === wanted}`,
  )
  return outcome
}

function lostOnly(outcome: Outcome, allowed: RegExp, most: number): void {
  let count = 0
  for (const [what, times] of outcome.lost) {
    count += times
    if (!allowed.test(what)) faults.push(`${times} × ${what}`)
  }
  if (count > most) faults.push(`${count} requests were lost, and at most ${most} may be`)
}

interface Made {
  user: { id: string }
  token: string
  data: { id: string }
}

async function post(path: string, body: object, token?: string): Promise<Made> {
  const response = await fetch(compose.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  })
  if (response.status !== 201) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`)
  return response.json() as Promise<Made>
}

async function introduce(): Promise<{ token: string; userId: string; post: string }> {
  const person = {
    email: `load.${Date.now()}@example.com`,
    password: 'correct horse battery',
    firstName: 'Load',
    lastName: 'Test',
  }
  const { user, token } = await post('/api/auth/register', person)
  const { data } = await post('/api/posts', { title: 'the post that is read', content: 'It is read.' }, token)
  return { token, userId: user.id, post: data.id }
}

async function play(script: string, ...more: string[]): Promise<void> {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, compose.url, ...more], {
    cwd: root,
    encoding: 'utf8',
    timeout: 300_000,
  })
  if (status !== 0)
    throw new Error(
      `${script} ended with ${status}:\n${stdout
        .split('\n')
        .filter((line) => !/^ *(ok|#)/.test(line))
        .join('\n')
        .slice(-6_000)}${stderr}`,
    )
}

async function step(title: string, work: () => Promise<void>): Promise<void> {
  const began = performance.now()
  await work()
  console.log(`  ✓ ${title} (${((performance.now() - began) / 1_000).toFixed(1)} s)`)
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
