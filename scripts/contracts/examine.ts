import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Manifest } from '../../src/platform/kit/module.ts'
import { breaksOf } from './breaks.ts'
import { type Snapshot, snapshotOf, textOf } from './snapshot.ts'

/** How the contracts of a catalogue compare with the snapshots in a folder. */
export interface Examined {
  readonly snapshots: readonly Snapshot[]
  /** What is broken for whom, a line each. */
  readonly breaks: readonly string[]
  /** Modules whose snapshot is missing, or is not what the contract says any more. */
  readonly stale: readonly string[]
  /** Modules that have a snapshot, and are not in the catalogue. */
  readonly gone: readonly string[]
}

export async function examine(catalogue: readonly Manifest[], folder: URL): Promise<Examined> {
  const snapshots = catalogue.map(({ contract }) => snapshotOf(contract))
  const kept = globSync('*.json', { cwd: fileURLToPath(folder) }).map((file) => basename(file, '.json'))
  const texts = new Map<string, string>()
  for (const module of kept) texts.set(module, await readFile(new URL(`${module}.json`, folder), 'utf8'))
  const breaks = [...texts].flatMap(([module, text]) => {
    const now = snapshots.find((snapshot) => snapshot.module === module)
    return breaksOf(JSON.parse(text), now, dependentsOf(module, catalogue))
  })
  return {
    snapshots,
    breaks,
    stale: snapshots.filter((snapshot) => texts.get(snapshot.module) !== textOf(snapshot)).map(({ module }) => module),
    gone: kept.filter((module) => !snapshots.some((snapshot) => snapshot.module === module)),
  }
}

function dependentsOf(module: string, catalogue: readonly Manifest[]) {
  const names = (those: readonly Manifest[]) => those.map(({ contract }) => contract.name)
  return {
    callers: names(catalogue.filter(({ uses }) => uses.some(({ name }) => name === module))),
    subscribersOf: (event: string) =>
      names(catalogue.filter(({ subscribes }) => subscribes.some(({ name }) => name === event))),
  }
}
