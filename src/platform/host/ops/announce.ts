import { type Placement, variable } from '../placement.ts'

/** What a process tells the person who started it: where everything is, what it runs on, and how to change that. */
export function announce(
  placement: Placement,
  urls: { api: string; ops: string },
  runsOn: { database: string; queue: string; sessions: string },
): string {
  const names = (manifests: Placement['all']) => manifests.map(({ contract }) => contract.name).join(', ')
  const rows = [
    ['API', `${urls.api}/api`],
    ['Docs', `${urls.api}/docs`],
    ['Ops', `${urls.ops}/metrics  /livez  /readyz`],
    [
      'Modules',
      `${names(placement.hosted) || 'none, a pure gateway'}   (MODULES=${placement.all[0]?.contract.name ?? ''} hosts only that one)`,
    ],
    ...(placement.remote.length > 0
      ? [
          [
            'Elsewhere',
            `${names(placement.remote)}   (${placement.remote.map(({ contract }) => `${variable(contract.name)}_URL`).join(', ')})`,
          ],
        ]
      : []),
    ['Database', `${runsOn.database}   (DATABASE_URL)`],
    ['Queue', `${runsOn.queue}   (REDIS_URL)`],
    ['Sessions', runsOn.sessions],
  ]
  const body = rows.map(([name, value]) => `  ${name!.padEnd(10)} ${value}`).join('\n')
  return `\nSeam is ready.\n\n${body}\n\n  All variables are in README.md. Ctrl-C ends it.\n`
}
