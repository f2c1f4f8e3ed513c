import type { Test } from 'tap'
import { Type } from 'typebox'
import { type Client, type Contract, defineContract, event, query } from '../../../../src/platform/kit/contract.ts'
import {
  defineModule,
  definePlugin,
  type Manifest,
  type ModuleApp,
  type ModulePlugin,
} from '../../../../src/platform/kit/module.ts'
import { startTopology, type TopologyOptions } from '../../../support/topology.ts'

// Named as modules that have migrations.
export const shelf = defineContract('users', {
  procedures: {
    read: query({
      input: Type.Object({ id: Type.String() }),
      output: Type.Object({ n: Type.Integer() }),
      cache: { ttl: 3_600, tags: ({ id }) => [`book:${id}`] },
    }),
  },
  events: {
    changed: event('shelf.changed', {
      version: 1,
      key: 'id',
      data: Type.Object({ id: Type.String(), n: Type.Integer() }),
      outdates: ({ id }) => [`book:${id}`],
    }),
    /** Changes more than can be said in one signal. */
    moved: event('shelf.moved', {
      version: 1,
      key: 'to',
      data: Type.Object({ to: Type.String() }),
      outdates: () => Array.from({ length: 2_000 }, (_, n) => `book:${n}`),
    }),
    dusted: event('shelf.dusted', { version: 1, key: 'id', data: Type.Object({ id: Type.String() }) }),
  },
})
const reader = defineContract('posts', {})

/** What the modules of one test do and know, in whichever of its processes. */
export class World {
  /** What is true. */
  readonly books = new Map<string, number>()
  reads = 0
  shelf: ModuleApp<typeof shelf> | undefined
  /** One for each process that hosts the reader. */
  readonly readers: Client<typeof shelf>[] = []
  readonly handled: { n: number; read: number }[] = []

  /** @param subscribes whether the reader also handles the event itself */
  catalogue(subscribes: boolean): readonly Manifest[] {
    const shelfPlugin = definePlugin<typeof shelf>((app) => {
      this.shelf = app
      app.implement({
        read: ({ id }) => {
          this.reads++
          return { n: this.books.get(id) ?? 0 }
        },
      })
    })
    const readerPlugin = definePlugin<typeof reader>((app) => {
      const client = app.call(shelf)
      this.readers.push(client)
      if (!subscribes) return
      app.subscribe(shelf.events.changed, async ({ data: { id, n } }) => {
        this.handled.push({ n, read: (await client.read({ id })).n })
      })
    })
    return [
      moduleOf(shelf, shelfPlugin),
      moduleOf(reader, readerPlugin, { uses: [shelf], ...(subscribes && { subscribes: [shelf.events.changed] }) }),
    ]
  }

  async change(id: string, n: number): Promise<void> {
    this.books.set(id, n)
    const app = this.shelf!
    await app.db.transaction((tx) => app.publish(tx, shelf.events.changed, { id, n }))
  }
}

function moduleOf<C extends Contract>(
  contract: C,
  plugin: ModulePlugin<C>,
  parts: { uses?: Contract[]; subscribes?: Manifest['subscribes'] } = {},
): Manifest {
  return defineModule(contract, { ...parts, plugin: async () => ({ default: plugin }) }) as unknown as Manifest
}

/** Processes with a shelf, and a reader who keeps what the shelf says. */
export async function start(t: Test, world: World, options: TopologyOptions & { subscribes: boolean }) {
  const topology = await startTopology({ ...options, catalogue: world.catalogue(options.subscribes) })
  t.teardown(() => topology.close())
  return topology
}
