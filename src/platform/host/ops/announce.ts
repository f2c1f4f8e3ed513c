import type { DiscoveryChoice } from '../discovery/choose.ts'
import { type Placement, variable } from '../placement.ts'

/** What a process tells the person who started it: where everything is, what it runs on, and how to change that. */
export function announce(
  process: {
    placement: Placement
    edge: boolean
    workers: number
    discovery: DiscoveryChoice
    moduleUrls: ReadonlyMap<string, readonly string[]>
  },
  urls: { api: string; ops: string; grpc?: string },
  runsOn: { databases: readonly string[]; queue: string; sessions: string },
): string {
  const { placement, edge, workers, discovery } = process
  const hosted = placement.hosted.map(({ contract }) => contract.name).join(', ')
  const elsewhere = placement.remote.map(({ contract: { name } }) => {
    const at = process.moduleUrls.get(name)
    if (discovery.kind === 'consul')
      return `${name} where Consul knows it as ${at?.[0] ?? `consul://${name}`} (${variable(name)}_URL, CONSUL_URL)`
    return `${name} at ${at ? at.join(', ') : 'no known address'} (${variable(name)}_URL)`
  })
  const rows = [
    ['API', edge ? urls.api : `${urls.api}, for processes of this system only (EDGE)`],
    ...(edge ? [['Docs', `${urls.api}/docs`]] : []),
    ['Ops', `${urls.ops}/metrics  /livez  /readyz`],
    ...(urls.grpc ? [['gRPC', `${urls.grpc}, for processes of this system only (RPC)`]] : []),
    ...(workers > 1 ? [['Workers', `${workers} processes share these ports (WORKERS)`]] : []),
    ['Modules', `${hosted || 'none, a pure gateway'} (MODULES)`],
    ...elsewhere.map((text, index) => [index === 0 ? 'Elsewhere' : '', text]),
    ...runsOn.databases.map((text, index) => [index === 0 ? 'Database' : '', text]),
    ['Queue', `${runsOn.queue} (REDIS_URL)`],
    ['Sessions', `${runsOn.sessions} (REDIS_URL)`],
  ]
  const body = rows.map(([name, value]) => `  ${name!.padEnd(10)} ${value}`).join('\n')
  return `\nSeam is ready.\n\n${body}\n\n  In brackets: the variable that changes it. All are in README.md. Ctrl-C ends it.\n`
}
