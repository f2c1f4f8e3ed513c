import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'
import { parse, parseAllDocuments } from 'yaml'
import { provideProgram } from '../../scripts/programs.ts'
import { readConfig } from '../../src/config.ts'
import { catalogue } from '../../src/modules/catalogue.ts'

const root = join(import.meta.dirname, '../..')
const run = promisify(execFile)

interface Variable {
  name: string
  value?: string
  valueFrom?: { secretKeyRef: { name: string; key: string } }
}

interface Source {
  secretRef?: { name: string; optional?: boolean }
}

interface Resource {
  apiVersion: string
  kind: string
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  data?: Record<string, string>
  spec?: {
    template?: { spec: { containers: { env: Variable[]; envFrom: Source[]; image: string }[] } }
    /** Of a ServiceMonitor. */
    jobLabel?: string
    /** Of a PrometheusRule. */
    groups?: unknown
    /** Of an Ingress. */
    rules?: { http: { paths: { path: string; pathType: string }[] } }[]
  }
}

/** The models of Kubernetes' own schema, by where the package keeps them; what an operator brings is written down here. */
const MODELS: Record<string, string> = {
  v1: 'kubernetes-models/v1',
  'networking.k8s.io/v1': 'kubernetes-models/networking.k8s.io/v1',
}
const OWN = `interface IServiceMonitor {
  apiVersion: 'monitoring.coreos.com/v1'
  kind: 'ServiceMonitor'
  metadata: { name: string; namespace?: string }
  spec: {
    selector: { matchLabels: Record<string, string> }
    namespaceSelector: { matchNames: string[] }
    jobLabel: string
    targetLabels: string[]
    endpoints: { port: string; path: string; interval: string; scrapeTimeout: string }[]
  }
}
interface IPrometheusRule {
  apiVersion: 'monitoring.coreos.com/v1'
  kind: 'PrometheusRule'
  metadata: { name: string; namespace?: string }
  spec: {
    groups: {
      name: string
      rules: { alert: string; expr: string; for: string; labels: Record<string, string>; annotations: Record<string, string> }[]
    }[]
  }
}`

async function render(overlay: string): Promise<Resource[]> {
  const kubectl = await provideProgram({
    names: ['kubectl'],
    package: 'kubernetes-client',
    advice: 'The tests need kubectl to put deploy/kubernetes together: install it.',
  })
  const { stdout } = await run(kubectl, ['kustomize', join(root, 'deploy/kubernetes/overlays', overlay)])
  return parseAllDocuments(stdout).map((document) => document.toJS())
}

/** What the compiler has against these objects as what they say they are: unknown fields, wrong types, missing ones. */
function faultsOf(resources: readonly Resource[]): string[] {
  const imports = resources.map(({ apiVersion, kind }) =>
    apiVersion.startsWith('monitoring.')
      ? ''
      : `import type { I${kind} } from '${MODELS[apiVersion] ?? `kubernetes-models/${apiVersion}`}'`,
  )
  const checks = resources.map(
    (resource, nth) => `export const r${nth} = ${JSON.stringify(resource)} satisfies I${resource.kind}`,
  )
  const source = [...new Set(imports), OWN, ...checks].join('\n')
  const file = join(root, 'test/deploy/rendered.ts')
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    lib: ['lib.es2022.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  }
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest)
  host.fileExists = (name) => name === file || fileExists(name)
  const program = ts.createProgram([file], options, host)
  const checked = program.getSourceFile(file)
  return [...program.getSyntacticDiagnostics(checked), ...program.getSemanticDiagnostics(checked)].map(
    ({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '),
  )
}

/** The environment of a process: secrets get values that could be theirs. */
function environmentOf(resource: Resource, resources: readonly Resource[]): Record<string, string> {
  const config = resources.find(({ kind }) => kind === 'ConfigMap')?.data
  const own = resource.spec?.template?.spec.containers[0]?.env.map(({ name, value, valueFrom }) => {
    const key = valueFrom?.secretKeyRef.key
    const secret = key === 'url' ? 'postgres://a:b@c/d' : key === 'secret' ? 's'.repeat(32) : 'redis://c'
    return [name, value ?? secret] as const
  })
  // The first ones are in the image.
  return {
    NODE_ENV: 'production',
    HOST: '0.0.0.0',
    PORT: '8000',
    OPS_PORT: '9000',
    ...config,
    ...Object.fromEntries(own ?? []),
  }
}

/** Copies the alerts to where the Prometheus operator takes them from. */
const COPY = `f=deploy/kubernetes/base/alerts.yaml; { sed '/^spec:/q' $f; sed -n '/^groups:/,$s/^/  /p' deploy/prometheus/alerts.yml; } > /tmp/alerts.yaml && cp /tmp/alerts.yaml $f`

const overlays = {
  monolith: { 'edge-seam': ['notifications', 'posts', 'users'] },
  split: { 'edge-seam': [], 'users-seam': ['users'], 'posts-seam': ['posts'], 'notifications-seam': ['notifications'] },
}

const rendered = new Map<string, Resource[]>()
for (const overlay of Object.keys(overlays)) rendered.set(overlay, await render(overlay))

t.test('what is rendered is what Kubernetes takes, and a field that it does not know is refused', async (t) => {
  const resources = [...rendered.values()].flat()
  const deployment = resources.find(({ kind }) => kind === 'Deployment')
  const broken = { ...deployment, spec: { ...deployment?.spec, replica: 3 } } as unknown as Resource
  const [fault, ...more] = faultsOf([...resources, broken])
  t.match(fault, /"replica"' does not exist in type 'IDeploymentSpec'/)
  t.strictSame(more, [])
})

for (const [overlay, placements] of Object.entries(overlays)) {
  t.test(`in the overlay ${overlay} processes start with what they are told, and secrets are references`, async (t) => {
    const resources = rendered.get(overlay) ?? []
    const hosted: Record<string, string[]> = {}
    for (const resource of resources.filter(({ kind }) => kind === 'Deployment' || kind === 'Job')) {
      const { placement, databaseUrl, redisUrls } = readConfig(environmentOf(resource, resources), catalogue)
      t.strictSame([databaseUrl, redisUrls], [undefined, ['redis://c']])
      const [container] = resource.spec?.template?.spec.containers ?? []
      t.match(container?.image, /:\d+\.\d+\.\d+$/, 'the image has a version')
      for (const { name, value } of container?.env ?? [])
        if (/SECRET|_URL$/.test(name)) t.equal(value, undefined, `${name} is a reference`)
      if (resource.kind !== 'Deployment') continue
      hosted[resource.metadata.name] = placement.hosted.map(({ contract }) => contract.name).sort()
      const settings = container?.envFrom.flatMap(({ secretRef }) => secretRef ?? [])
      t.strictSame(settings, [{ name: 'seam-settings', optional: true }], 'settings of their own, where there are any')
    }
    t.strictSame(hosted, placements)
  })
  t.test(`in the overlay ${overlay} Prometheus knows the processes by the name that the alerts ask for`, async (t) => {
    const resources = rendered.get(overlay) ?? []
    const monitor = resources.find(({ kind }) => kind === 'ServiceMonitor')
    const services = resources.filter(({ kind }) => kind === 'Service')
    t.ok(services.length > 0)
    for (const { metadata } of services)
      t.equal(metadata.labels?.[monitor?.spec?.jobLabel ?? ''], 'seam', `${metadata.name} has the label of the job`)
    const { groups } = parse(await readFile(join(root, 'deploy/prometheus/alerts.yml'), 'utf8'))
    const rule = resources.find(({ kind }) => kind === 'PrometheusRule')
    t.strictSame(rule?.spec?.groups, groups, 'the alerts are those of deploy/prometheus/alerts.yml', { copyBy: COPY })
  })

  t.test(`in the overlay ${overlay} only the stream may be silent for longer than an answer takes`, async (t) => {
    const ingresses = (rendered.get(overlay) ?? []).filter(({ kind }) => kind === 'Ingress')
    const patient = ingresses.filter(
      ({ metadata }) => Number(metadata.annotations?.['nginx.ingress.kubernetes.io/proxy-read-timeout']) !== 12,
    )
    const paths = patient.flatMap(({ spec }) => spec?.rules?.flatMap(({ http }) => http.paths) ?? [])
    t.match(paths, [{ path: '/api/notifications/stream', pathType: 'Exact' }])
    t.equal(paths.length, 1)
  })
}
