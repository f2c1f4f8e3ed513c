// Writes `contracts/<module>.json`, which say what others rely on, unless a change would break them: `npm run contracts`.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { catalogue } from '../src/modules/catalogue.ts'
import { examine } from './contracts/examine.ts'
import { textOf } from './contracts/snapshot.ts'

const folder = new URL('../contracts/', import.meta.url)
const { snapshots, breaks, gone } = await examine(catalogue, folder)
if (breaks.length > 0) {
  console.error(['This breaks others (docs/changing-a-contract.md):', ...breaks].join('\n  '))
  process.exitCode = 1
} else {
  await mkdir(folder, { recursive: true })
  for (const snapshot of snapshots) await writeFile(new URL(`${snapshot.module}.json`, folder), textOf(snapshot))
  for (const module of gone) await rm(new URL(`${module}.json`, folder))
}
