import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import t from 'tap'
import { providePrometheus } from '../../scripts/prometheus.ts'
import { connect } from '../api/client.ts'
import { story } from '../api/story.ts'
import { type CollectedSpan, startCollector } from '../support/collector.ts'
import { SeamProcess } from '../support/processes.ts'
import { startPrometheus } from '../support/prometheus.ts'
import { startSmtp } from '../support/smtp.ts'
import { freshState, planTopology } from '../support/topology.ts'
import { until } from '../support/until.ts'

const deploy = join(import.meta.dirname, '../../deploy')
const SECRET = 'a secret that only these tests know, of enough length'

t.setTimeout(400_000)

const smtp = await startSmtp()
const collector = await startCollector()
const state = await freshState('redis')
t.teardown(async () => {
  await Promise.all([smtp.close(), collector.close()])
  await state.close()
})
const plan = await planTopology({
  outside: ['users', 'posts', 'notifications'],
  state: state.env,
  env: {
    SMTP_URL: smtp.url,
    LOG_LEVEL: 'debug',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: 'parentbased_always_on',
  },
})
const processes = plan.processes.map(({ name, env }) => SeamProcess.start(t, name, env))
await Promise.all(processes.map((process) => process.ready()))
const prometheus = await startPrometheus(await scraping(plan.processes.map(({ opsUrl }) => new URL(opsUrl).host)))
t.teardown(() => prometheus.close())
const api = connect(t, { url: plan.url, smtp, secret: SECRET })

t.test('the story is played', async (t) => {
  await story(t, api)
  await api.get('/api/health')
  await api.get('/api/users?search=ada@example.com')
  await api.get('/nowhere/at/all')
})

t.test('one trace goes from the registration to the welcome mail, through all processes', async (t) => {
  const mail = (span: CollectedSpan) => span.name === 'send email'
  await until('the span of the mail', () => collector.spans.some(mail))
  const { traceId } = collector.spans.find(mail)!
  const trace = () => collector.spans.filter((span) => span.traceId === traceId)
  await until('its root', () => trace().some(({ parentSpanId }) => !parentSpanId))
  const byId = new Map(trace().map((span) => [span.spanId, span]))
  const path: string[] = []
  for (let span = trace().find(mail); span; span = byId.get(span.parentSpanId ?? ''))
    path.unshift(`${span.service}: ${span.name}`)
  t.strictSame(path, [
    'seam-gateway: POST /api/auth/*',
    'seam-gateway: pass on to users',
    'seam-users: POST /api/auth/register',
    'seam-users: publish user.created',
    'seam-users: send user.created',
    'seam-notifications: handle user.created',
    'seam-notifications: send email',
  ])
  const of = (service: string) => trace().filter((span) => span.service === service)
  t.ok(of('seam-users').some(({ name, attributes }) => name === 'INSERT' && attributes['db.system.name']))
  t.ok(of('seam-users').some(({ attributes }) => attributes['db.system.name'] === 'redis'))
  t.ok(of('seam-notifications').some(({ name }) => name === 'INSERT'))
  t.strictSame(
    trace().filter(({ parentSpanId }) => parentSpanId && !byId.has(parentSpanId)),
    [],
    'no span is lost',
  )
  t.notMatch(JSON.stringify(collector.spans), /example\.com|correct horse/, 'and it says nothing about anybody')
})

t.test('a call has a span on both sides', async (t) => {
  const client = 3
  const called = await until('a call', () =>
    collector.spans.find(
      ({ service, name, kind }) => service === 'seam-gateway' && name.startsWith('users.') && kind === client,
    ),
  )
  const served = await until('its other side', () =>
    collector.spans.find(({ parentSpanId }) => parentSpanId === called.spanId),
  )
  t.match([served.service, served.name], ['seam-users', called.name])
  t.equal(served.traceId, called.traceId)
})

t.test('the log has the ids of requests and traces, and nothing about people', async (t) => {
  const lines = processes.flatMap(({ output }) =>
    output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line)),
  )
  const registered = lines.filter(({ url, method }) => method === 'POST' && url === '/api/auth/register')
  t.equal(registered.length, 2, 'at the gateway and at the module')
  const [{ requestId, traceId }] = registered
  t.match(registered, [
    { requestId, traceId },
    { requestId, traceId },
  ])
  t.ok(collector.spans.some((span) => span.traceId === traceId && span.attributes['seam.request_id'] === requestId))
  for (const { name, output } of processes) {
    t.ok(output.length > 200)
    t.notMatch(output, /[\w.]+@example\.com|correct horse|eyJ[\w-]+\.|Bearer/, `${name}`)
    t.notMatch(output, SECRET, `${name}`)
  }
})

t.test('an event for a module that nobody hosts is seen to wait', async () => {
  await eventForNobody()
})

t.test('docs/metrics.md has every metric with its labels, and no other', async (t) => {
  const docs = await readFile(join(deploy, '../docs/metrics.md'), 'utf8')
  const rows = [...docs.matchAll(/^\| `(seam_\w+)` \| (\w+) \| ([^|]*) \|/gm)]
  const documented = Object.fromEntries(
    rows.map(([, name, type, labels]) => [
      name,
      { type, labels: [...labels!.matchAll(/`(\w+)`/g)].map(([, label]) => label).sort() },
    ]),
  )
  const exposed: Record<string, { type: string; labels: string[] }> = {}
  for (const { opsUrl } of plan.processes) {
    const text = await (await fetch(`${opsUrl}/metrics`)).text()
    for (const [, name, type] of text.matchAll(/^# TYPE (\w+) (\w+)$/gm)) exposed[name!] ??= { type: type!, labels: [] }
    for (const [, sample, labels] of text.matchAll(/^(\w+)\{(.*)\} /gm)) {
      const name = Object.hasOwn(exposed, sample!) ? sample! : sample!.replace(/_(bucket|sum|count)$/, '')
      const found = [...labels!.matchAll(/(\w+)="/g)].map(([, label]) => label!).filter((label) => label !== 'le')
      exposed[name]!.labels = [...new Set([...exposed[name]!.labels, ...found])].sort()
    }
  }
  const { seam_cache_total, seam_worker_restarts_total, ...others } = documented
  t.ok(seam_cache_total, 'which no process has here: no module keeps answers of others')
  t.ok(seam_worker_restarts_total, 'nor this, without workers')
  t.strictSame(others, exposed)
})

t.test('every query of the dashboards and the alerts gives data', async (t) => {
  await until('what was counted so far is known', async () => {
    const known = await prometheus.query('count(seam_http_requests_total)')
    return (await prometheus.query('sum(up) == 4')).length > 0 && known.length > 0
  })
  // A rate is of what comes between two looks.
  await story(t, api)
  // Of calls, one in eight is timed.
  for (let n = 0; n < 8; n++) await api.get('/api/health')
  const boards = await Promise.all(
    (await readdir(join(deploy, 'grafana/dashboards'))).map(async (file) => ({
      file,
      ...JSON.parse(await readFile(join(deploy, 'grafana/dashboards', file), 'utf8')),
    })),
  )
  t.strictSame(boards.map(({ uid }) => uid).sort(), ['seam-events', 'seam-module', 'seam-overview'])
  const queries = boards.flatMap(({ file, panels }) =>
    panels.flatMap(({ title, targets }: { title: string; targets: { expr: string }[] }) =>
      targets.map(({ expr }) => ({ of: `${file}: ${title}`, expr: expr.replaceAll('$module', 'users') })),
    ),
  )
  const rules = await readFile(join(deploy, 'prometheus/alerts.yml'), 'utf8')
  const alerts = [...rules.matchAll(/alert: (\w+)\n +expr: >-\n +(.*) [<>] [\d.e]+\n/g)].map(([, of, expr]) => ({
    of: of!,
    expr: expr!,
  }))
  t.equal(alerts.length, rules.match(/alert:/g)!.length)
  // No module keeps answers of others, and no process has workers.
  const asked = alerts.filter(({ of }) => of !== 'SeamCacheOff' && of !== 'SeamWorkerRestarts')
  for (const { of, expr } of [...asked, ...queries]) {
    const found = await until(`data for ${of}: ${expr}`, async () => {
      // Quantiles and shares of nothing are no numbers.
      const series = (await prometheus.query(expr)).filter(({ value }) => value[1] !== 'NaN')
      return series.length > 0 && series
    })
    t.ok(found.length > 0, of)
  }
  t.strictSame(
    (await prometheus.query('sum(up)')).map(({ value }) => value[1]),
    ['4'],
  )
})

t.test('every alert has a page, and fires when it should', async (t) => {
  const { promtool } = await providePrometheus()
  const { stdout } = await promisify(execFile)(promtool, ['test', 'rules', join(deploy, 'prometheus/alerts.test.yml')])
  t.match(stdout, 'SUCCESS')
  const [rules, tests, pages] = await Promise.all(
    ['prometheus/alerts.yml', 'prometheus/alerts.test.yml', '../docs/operations.md'].map((file) =>
      readFile(join(deploy, file), 'utf8'),
    ),
  )
  for (const [, name] of rules!.matchAll(/alert: (\w+)/g)) {
    t.match(rules, `runbook: docs/operations.md#${name!.toLowerCase()}\n`)
    t.match(pages, `\n### ${name}\n`)
    t.match(tests, `alertname: ${name}\n`)
  }
})

/** The configuration for deployments, with other targets, and more often. */
async function scraping(targets: readonly string[]): Promise<string> {
  const config = await readFile(join(deploy, 'prometheus/prometheus.yml'), 'utf8')
  return config
    .replaceAll('15s', '1s')
    .replace('scrape_timeout: 5s', 'scrape_timeout: 1s')
    .replace('alerts.yml', join(deploy, 'prometheus/alerts.yml'))
    .replace(
      / +(# monolith.yml.*\n +)?file_sd_configs:[\s\S]*/,
      `    static_configs: [{ targets: [${targets.map((target) => `'${target}'`)}] }]\n`,
    )
}

/** An event for a module that nobody hosts and for a system that nobody knows, so that they are not confirmed while we look. */
async function eventForNobody(): Promise<void> {
  const sql = postgres(state.env.DATABASE_URL!, { max: 1, fetch_types: false })
  for (const subscriber of ['nobody', 'webhook:nobody'])
    await sql`insert into users.outbox_deliveries (event_id, subscriber, place, after) select id, ${subscriber}, sequence, 0 from users.outbox limit 1`
  await sql.end()
}
