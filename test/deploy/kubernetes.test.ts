import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'
import { parseAllDocuments } from 'yaml'
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

interface Resource {
  apiVersion: string
  kind: string
  metadata: { name: string }
  data?: Record<string, string>
  spec?: { template?: { spec: { containers: { env: Variable[]; image: string }[] } } }
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
    targetLabels: string[]
    endpoints: { port: string; path: string; interval: string; scrapeTimeout: string }[]
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
      if (resource.kind === 'Deployment')
        hosted[resource.metadata.name] = placement.hosted.map(({ contract }) => contract.name).sort()
    }
    t.strictSame(hosted, placements)
  })
}
